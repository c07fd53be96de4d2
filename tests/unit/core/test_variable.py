import pytest

from tadka.core.error import ConfigError
from tadka.core.variable import expand_variables


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "here")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${SET}/x", "here/x"),
        ("${EMPTY}x", "x"),
        ("${SET:-other}", "here"),
        ("${UNSET:-other}/x", "other/x"),
        ("${EMPTY:-other}", "other"),
        ("${UNSET:-}x", "x"),
        ("${UNSET:-s3://b/k}", "s3://b/k"),
        ("$${SET} $SET $", "${SET} $SET $"),
        ("${SET}${SET}", "herehere"),
    ],
)
def test_texts_are_filled_in(text: str, expected: str) -> None:
    assert expected == expand_variables(text, "data")


def test_lists_and_mappings_are_walked_and_all_else_stays() -> None:
    given = {"a": ["${SET}", 1, None], "b": {"c": ("${SET}", True)}, "d": 0.5}

    assert {"a": ["here", 1, None], "b": {"c": ["here", True]}, "d": 0.5} == expand_variables(
        given, "data"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": ["x", "${UNSET}"]}, r"data\.a\[1\] needs the environment variable UNSET"),
        ("${}", "between the braces"),
        ("${1X}", "between the braces"),
        ("${UNSET-x}", "between the braces"),
    ],
)
def test_what_cannot_be_filled_in_is_told_with_its_place(given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        expand_variables(given, "data")
