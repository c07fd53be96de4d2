import math
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError, NotFound
from tadka.features import Buckets, Hashed, Log, Number, Vocabulary
from tadka.features.encoding import num_slots


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hashed(0), "Hashed size is 0"),
        (lambda: Hashed(2**31), "must be from 1"),
        (lambda: Vocabulary([]), "no words"),
        (lambda: Vocabulary(["a", "a"]), "'a' twice"),
        (lambda: Vocabulary([1]), "1 is no text"),  # type: ignore[list-item]
        (lambda: Vocabulary(["a"], file="f"), "both words and a file"),
        (lambda: Number(math.nan), "finite shift"),
        (lambda: Number(0.0, 0.0), "finite scale that is not 0"),
        (lambda: Number(0.0, math.inf), "finite scale"),
        (lambda: Buckets([]), "at least one number"),
        (lambda: Buckets([math.nan]), "no NaN"),
        (lambda: Buckets([1, 1]), "each must be above the one before"),
    ],
)
def test_a_wrong_setting_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_vocabulary_file_has_a_word_a_line(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_bytes("a\n日\u2028x\r\n\nb".encode())

    assert Vocabulary(["a", "日\u2028x", "", "b"]) == Vocabulary(file=file)
    file.write_text("a\nb\n")
    assert ("a", "b") == Vocabulary(file=str(file)).words


def test_a_vocabulary_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    with pytest.raises(NotFound, match="does not exist"):
        Vocabulary(file=file)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        Vocabulary(file=file)
    file.write_bytes(b"")
    with pytest.raises(ConfigError, match="no words"):
        Vocabulary(file=file)


def test_every_encoding_knows_its_slots() -> None:
    assert [0, 9, 4, 2, 2, 5] == [
        num_slots(Hashed()),
        num_slots(Hashed(9)),
        num_slots(Vocabulary(["a", "b"])),
        num_slots(Number()),
        num_slots(Log()),
        num_slots(Buckets([1, 2, 3])),
    ]
