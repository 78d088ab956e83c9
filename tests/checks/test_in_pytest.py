"""`mockdify_check` gives one test per rule."""


def test_one_test_per_rule(pytester):
    pytester.makepyfile(
        """
        from mockdify.harness.testing import mockdify_check
        from mockdify.reference import Client, Reader, ReferenceAdapter

        class Ignores(Reader):
            def on_error(self, event):
                self.ended = True

        class Broken(ReferenceAdapter):
            client = type("BrokenClient", (Client,), {"reader": Ignores})

        test_good = mockdify_check(ReferenceAdapter(), only=["SSE-ERROR-001", "REPLY-TEXT-001"])
        test_broken = mockdify_check(Broken(), only=["SSE-ERROR-001", "REPLY-TEXT-001"])
        test_known = mockdify_check(Broken(), only=["SSE-ERROR-001"], known=["SSE-ERROR-001"])
        test_blocking = mockdify_check({"chat": lambda query: query}, only=["SSE-ERROR-001"])
        """
    )
    result = pytester.runpytest("-p", "no:randomly", "-rs")
    result.assert_outcomes(passed=3, failed=1, xfailed=1, skipped=1)
    result.stdout.fnmatch_lines(["*SSE-ERROR-001 chat.streaming: silent-loss*", "*fix: Raise on*"])
