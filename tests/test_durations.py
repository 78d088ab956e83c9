import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockdify.durations import INSTANT, REALTIME, Pace, parse_duration, parse_pace
from mockdify.errors import MockdifyError


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("100ms", 0.1),
        ("2s", 2),
        ("5m", 300),
        ("1h", 3600),
        ("90d", 7776000),
        (1.5, 1.5),
        (2, 2),
        ("0", 0),
        ("1.5", 1.5),
        (" 2 S ", 2),
    ],
)
def test_a_duration_is_a_number_and_a_unit_or_seconds(written, seconds):
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written", ["", "s", "-1s", "2 weeks", "1e3s", "nan", "inf", "1s2m", -1, True, None, float("nan"), 10**400]
)
def test_what_is_no_duration_is_told_with_what_is_allowed(written):
    with pytest.raises(MockdifyError, match=r"is not a duration; allowed: a number with a unit"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "pace"),
    [
        ("instant", INSTANT),
        ("realtime", REALTIME),
        ("30ms", Pace(seconds=0.03)),
        ("2x", Pace(seconds=0.015, speed=2.0)),
        ("0.5x", Pace(seconds=0.06, speed=0.5)),
        (0.1, Pace(seconds=0.1)),
        (Pace(seconds=7), Pace(seconds=7)),
    ],
)
def test_a_pace_is_a_word_a_time_or_a_speed(written, pace):
    assert parse_pace(written) == pace


@pytest.mark.parametrize("written", ["fast", "-1s", "x", "2xx", None])
def test_what_is_no_pace_is_told_with_what_is_allowed(written):
    with pytest.raises(MockdifyError, match=r'is not a pace; allowed: "instant", "realtime"'):
        parse_pace(written)


def test_a_speed_of_zero_is_refused():
    with pytest.raises(MockdifyError, match="would never end"):
        parse_pace("0x")


@given(st.integers(0, 10**6), st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)]))
def test_every_whole_number_of_a_unit_is_a_duration(number, unit):
    assert parse_duration(f"{number}{unit[0]}") == pytest.approx(number * unit[1])


@given(st.text() | st.floats() | st.integers())
def test_anything_else_is_refused_by_our_own_error(written):
    for parse in (parse_duration, parse_pace):
        try:
            parse(written)
        except MockdifyError:
            continue
