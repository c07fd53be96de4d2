"""What an output declares, and what is refused there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.task.output.out import Check, Out, check, checks_of


def _save(value: object, folder: Path) -> None:
    """Writes nothing: only declared."""


def _load(folder: Path) -> None:
    """Reads nothing: only declared."""


@pytest.mark.parametrize(
    ("path", "format_", "compression"),
    [
        ("clicks/{day}.parquet", "parquet", None),
        ("clicks/{day:%Y.%m}.csv", "csv", None),
        ("clicks.CSV.gz", "csv", "gzip"),
        ("page.jpeg", "jpg", None),
        ("events.ndjson", "jsonl", None),
        ("clicks/{day}", None, None),
    ],
)
def test_suffix_of_the_path_decides(
    path: str, format_: str | None, compression: str | None
) -> None:
    out = Out(path=path)

    assert (format_, compression) == (out.format, out.compression)


def test_save_and_load_make_a_folder() -> None:
    assert Out(save=_save, load=_load, path="model.v2").format == "dir"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Out("parqet"), "unknown. Did you mean 'parquet'?"),
        (lambda: Out("dir"), "Out(save=save, load=load)"),
        (lambda: Out("csv", save=_save, load=_load), "leave the format out"),
        (lambda: Out(save=_save), "load=None"),
        (lambda: Out("csv", path="a.parquet"), "whose suffix means 'parquet'"),
        (lambda: Out(path="a.cbm"), "'.cbm' means no format"),
        (lambda: Out(path="/a.csv"), "below the workspace"),
        (lambda: Out(path="a/../../b.csv"), "below the workspace"),
        (lambda: Out("csv", min_rows=-1), "min_rows=-1"),
        (lambda: Out("csv", min_rows=True), "min_rows=True"),
        (lambda: Out("csv", encoding="utf-9"), "encoding='utf-9'"),
        (lambda: Out("parquet", encoding="cp932"), "only text formats"),
        (lambda: Out("csv", max_bytes="1M"), "kept in parts"),
        (lambda: Out("parquet", max_bytes=0), "at least 1"),
        (lambda: Out("parquet", compression="zst"), "'zstd', 'snappy'"),
        (lambda: Out("png", compression="gzip"), "must be one of 'none'"),
        (lambda: Out("npy", columns={"a": int}), "only frames and lists of dicts"),
        (lambda: Out("csv", columns={}), "mapping of names to types"),
        (lambda: Out("csv", columns={"a": "integer64"}), "column 'a' with the type 'integer64'"),
        (lambda: Out("csv", columns={"a": list[int]}), "which is none"),
        (lambda: Out("csv", columns={1: int}), "must be text"),  # type: ignore[dict-item]
    ],
)
def test_what_cannot_be_is_refused_where_it_is_declared(
    make: Callable[[], Out], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make()

    assert words in str(caught.value)


def test_declaration_is_one_for_types_written_in_two_ways() -> None:
    one = Out("parquet", columns={"a": np.int32, "b": int | None})
    two = Out("parquet", columns={"a": "int32", "b": "int | None"}, path="clicks.parquet")

    assert one.declaration() == two.declaration()
    assert {"a": "int32", "b": "int | None"} == one.declaration()["columns"]


def test_outs_are_equal_and_hashable_by_what_they_declare() -> None:
    assert {Out("csv", columns={"a": int}): 1}[Out("csv", columns={"a": int})] == 1
    assert Out("csv", columns={"a": int}) != Out("csv", columns={"a": float})


class _Base:
    @check
    def is_full(self, value: list[int]) -> bool:
        return len(value) > 2

    @check(severity="warn")
    def is_odd(self, value: list[int]) -> np.bool_:
        return np.bool_(len(value) % 2)


class _Child(_Base):
    def is_full(self, value: list[int]) -> bool:
        return len(value) > 0

    is_odd = None  # type: ignore[assignment]


def test_checks_are_methods_and_found_with_their_severity() -> None:
    assert (Check("is_full", "error"), Check("is_odd", "warn")) == checks_of(_Base)
    assert _Base().is_full([1, 2, 3])
    assert [False, True] == [one.passes(_Base(), [1]) for one in checks_of(_Base)]


def test_an_override_stays_a_check_and_none_takes_it_away() -> None:
    assert (Check("is_full", "error"),) == checks_of(_Child)
    assert checks_of(_Child)[0].passes(_Child(), [1])


@pytest.mark.parametrize("verdict", [None, "good", 1])
def test_a_check_must_say_true_or_false(verdict: Any) -> None:
    class Odd:
        @check
        def is_good(self, value: object) -> Any:
            return verdict

    with pytest.raises(DataError, match=r"Check Odd.is_good returned .*; it must return True"):
        checks_of(Odd)[0].passes(Odd(), 1)


def test_a_check_of_another_severity_is_refused() -> None:
    with pytest.raises(ConfigError, match="severity='warning'"):
        check(severity="warning")  # type: ignore[call-overload]
