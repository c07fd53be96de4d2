import math
from typing import Any

from tadka.features import Features
from tadka.features.body import body_of

LIMIT = 3
NAMES = {"b": 2, "a": [1, 2]}


def double(x: int) -> int:
    """Doubled."""
    return x + x * again(0)


def again(x: int) -> int:
    return double(x) if x else 1


class Row(Features):
    n: int
    s: str = ""

    _private = 7

    @property
    def plain(self) -> int:
        """A docstring."""
        # a comment
        return self.n + 1

    @property
    def same(this) -> int:  # noqa: N805 - another name of self
        return this.n + 1

    @property
    def other(self) -> int:
        return self.n + 2

    @property
    def uses(self) -> int:
        return self.plain + self._half() + self._private

    def _half(self, by: int = 2) -> int:
        return self.n // by

    @property
    def constant(self) -> int:
        return LIMIT + len(NAMES)

    @property
    def calls(self) -> int:
        return double(self.n)

    @property
    def library(self) -> float:
        return math.sqrt(self.n)

    @property
    def long(self) -> str:
        out: str = ""
        for i in range(3):
            if i > 1 and self.s not in {"a", "b"}:
                out += f"{i:>3}{self.s!r}" if -i else self.s[1:]
        return out


def body(name: str, cls: Any = Row) -> str:
    return body_of(cls, vars(cls)[name].fget)


def test_layout_comments_and_docstrings_do_not_count() -> None:
    assert "return (self.n + 1)" == body("plain")
    assert body("plain") == body("same")
    assert body("plain") != body("other")


def test_what_a_property_uses_counts() -> None:
    assert (
        "return ((self.plain + self._half()) + self._private); self._half = "
        "((by) [2] return (self.n // by)); self._private = 7; "
        "self.plain = (return (self.n + 1))"
    ) == body("uses")
    assert ("return (LIMIT + len(NAMES)); LIMIT = 3; NAMES = {'a': [1, 2], 'b': 2}") == body(
        "constant"
    )
    assert (
        "return double(self.n); again = ((x) return (double(x) if x else 1)); "
        "double = ((x) return (x + (x * again(0))))"
    ) == body("calls")
    assert "return math.sqrt(self.n); math = <math>" == body("library")


def test_a_statement_without_a_form_of_its_own_is_told_in_general_form() -> None:
    told = body("long")

    for part in ("For(target=i, iter=range(3)", "(i > 1)", "(self.s not in ", "FormattedValue("):
        assert part in told
    assert "str" not in told.replace("conversion", "")


def test_a_function_without_source_is_told_by_its_bytecode() -> None:
    def made(text: str) -> Any:
        scope: dict[str, Any] = {}
        exec(f"def f(self): return {text}", scope)
        return scope["f"]

    one = body_of(Row, made("self.n + 1"))

    assert one.startswith("bytecode ")
    assert one == body_of(Row, made("self.n + 1"))
    assert one != body_of(Row, made("self.n + 2"))


def test_a_local_constant_counts() -> None:
    def make(limit: int) -> Any:
        class Local(Features):
            n: int

            @property
            def above(self) -> bool:
                return self.n > limit

        return Local

    assert "return (self.n > limit); limit = 3" == body("above", make(3))
    assert make(3).definition().hash == make(3).definition().hash
    assert make(3).definition().hash != make(4).definition().hash
