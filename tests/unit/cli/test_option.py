import pytest

from tadka.cli.option import names_of


@pytest.mark.parametrize(
    ("text", "names"), [("", []), ("user", ["user"]), (" user, item ,,", ["user", "item"])]
)
def test_names_stand_with_commas(text: str, names: list[str]) -> None:
    assert names == names_of(text)
