import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockdify import templates
from mockdify.errors import MockdifyError
from mockdify.templates import check, render, rendered


def fails(template, variables=None):
    with pytest.raises(MockdifyError) as caught:
        render(template, variables or {})
    return str(caught.value)


@given(st.text().filter(lambda text: not any(mark in text for mark in ("{{", "{%", "{#"))))
def test_a_text_without_marks_passes_untouched(text):
    assert render(text, {}) == text


def test_a_text_without_marks_never_imports_jinja2():
    code = "import sys; from mockdify.templates import render, check; render('plain', {}); check('plain', ()); "
    code += "from mockdify.script import Ask, Script; Script().choose(Ask(app='a', query='{{ 1 }}')); "
    code += "sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_variables_are_filled_in():
    assert render("{{ query.split(']]', 1)[1] }}", {"query": "[[echo]] hi"}) == " hi"


def test_a_last_newline_stays():
    assert render("{{ 1 }}\n", {}) == "1\n"


def test_dify_s_own_templates_are_lenient():
    assert render("a{{ nothing }}b\n", {}, strict=False) == "ab"


def test_a_missing_variable_is_told_with_what_there_is():
    told = fails("{{ qurey }}", {"query": "x", "user": "y"})
    assert "unknown variable 'qurey'; there is: query, user; did you mean 'query'?" in told


def test_a_missing_input_is_told_with_a_way_out():
    assert "has no attribute 'name'; write `… | default('')`" in fails("{{ inputs.name }}", {"inputs": {}})
    assert render("{{ inputs.name | default('you') }}", {"inputs": {}}) == "you"


@pytest.mark.parametrize("template", ["{% if %}", "{{ 1", "{% endfor %}", "{{ 1 + }}", "{{ x | nofilter }}"])
def test_a_bad_template_is_told_at_load(template):
    with pytest.raises(MockdifyError, match="the template is not Jinja2"):
        check(template)


def test_an_unknown_variable_is_told_at_load():
    with pytest.raises(MockdifyError, match="did you mean 'query'"):
        check("{{ qury }}", ("query", "user"))
    check("{% for x in query %}{{ x }}{% endfor %}", ("query",))
    check("{{ whatever }}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10000000 }}",
        "{{ 10 ** 1000000000 }}",
        "{{ 'x' | center(10000000) }}",
        "{% set s = namespace(x='ab') %}{% for i in range(99) %}{% set s.x = s.x ~ s.x %}{% endfor %}",
        "{% set s = namespace(x='ab') %}{% for i in range(99) %}{% set s.x = s.x + s.x %}{% endfor %}",
        "{% set s = namespace(x=[1]) %}{% for i in range(99) %}{% set s.x = s.x + s.x %}{% endfor %}",
        "{% for i in range(99999) %}{{ 'a' * 999 }}{% endfor %}",
    ],
)
def test_a_text_never_grows_beyond_the_bound(template):
    assert "more than 1,000,000 characters" in fails(template)


def test_loops_are_bounded_together():
    loop = "{% for i in range(10000) %}"
    assert "more than 100,000 rounds" in fails(loop * 2 + "{% endfor %}" * 2)


def test_macros_are_bounded():
    assert "RecursionError" in fails("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")


def test_loops_and_joins_work_as_ever():
    template = (
        "{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(1) ~ m('b') }}{% for i in [1, 2] %}{{ loop.index }}{% endfor %}"
    )
    assert render(template, {}) == "<1><b>12"


@pytest.mark.parametrize("template", ["{{ ''.__class__ }}", "{{ x.append(1) }}", "{{ x.__init__.__globals__ }}"])
def test_the_sandbox_keeps_python_s_insides_and_our_values_safe(template):
    x = []
    assert "is unsafe" in fails(template, {"x": x})
    assert x == []


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{% include 'x' %}", "{{ 'x' | round }}", "{{ f() }}"])
def test_whatever_goes_wrong_inside_is_our_own_error(template):
    def f():
        raise OSError("no")

    assert "failed" in fails(template, {"f": f})


def test_texts_are_rendered_however_deep_they_lie():
    given_ = {"a": "{{ x }}", "b": [1, {"c": "{{ x | upper }}"}], "d": None}
    assert rendered(given_, {"x": "y"}) == {"a": "y", "b": [1, {"c": "Y"}], "d": None}


def test_a_template_is_compiled_once():
    templates._compiled.cache_clear()
    for _ in range(3):
        render("{{ 40 + 2 }}", {})
    assert templates._compiled.cache_info().misses == 1
