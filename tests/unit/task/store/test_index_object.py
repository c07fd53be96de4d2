import json
from pathlib import Path

import pytest

from tadka.core.error import DataError
from tadka.task.store.index_object import ObjectIndex
from tests.rows import digest, entry


@pytest.mark.parametrize("text", ["{", "[]", '{"key": "other"}', "null"])
def test_a_damaged_row_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    index = ObjectIndex(str(tmp_path))
    index.add([entry(1)])
    file = tmp_path / "entries" / f"{digest(1)}.json"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=rf"{digest(1)}\.json is damaged\. Delete it"):
        index.find(digest(1))


def test_a_row_of_another_key_is_damage(tmp_path: Path) -> None:
    index = ObjectIndex(str(tmp_path))
    index.add([entry(1)])
    folder = tmp_path / "entries"
    (folder / f"{digest(1)}.json").rename(folder / f"{digest(2)}.json")

    with pytest.raises(DataError, match="is damaged"):
        index.find(digest(2))


def test_names_that_a_newer_tadka_added_are_passed_over(tmp_path: Path) -> None:
    index = ObjectIndex(str(tmp_path))
    index.add([entry(1)])
    file = tmp_path / "entries" / f"{digest(1)}.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    found["new"] = found["outputs"][0]["new"] = 1
    file.write_text(json.dumps(found), encoding="utf-8")

    assert entry(1) == index.find(digest(1))


def test_a_row_is_a_whole_file_or_none(tmp_path: Path) -> None:
    index = ObjectIndex(str(tmp_path))

    index.add([entry(number) for number in range(20)])

    assert not list(tmp_path.rglob(".*"))
    assert 20 == len(list((tmp_path / "entries").iterdir()))
