"""Which format a result gets, what is refused at the class, and stable bytes."""

import collections
import json
import os
import subprocess
import sys
import typing
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Optional, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.task.output.codec import codec_of, codec_of_stored
from tadka.task.output.out import Out


class Fit:
    """A class of the user."""


class Report(TypedDict):
    """A typed dict."""

    auc: float


@pytest.mark.parametrize(
    ("type_", "suffix"),
    [
        (pd.DataFrame, ".parquet"),
        (pa.Table, ".parquet"),
        (Annotated[pd.DataFrame, "clicks"], ".parquet"),
        (dict, ".json"),
        (dict[str, list[float | None]], ".json"),
        (list[dict[str, Any]], ".json"),
        (Report, ".json"),
        (str, ".txt"),
        (bytes, ".bin"),
        (np.ndarray, ".npy"),
        (npt.NDArray[np.float32], ".npy"),
        (dict[str, np.ndarray], ".npz"),
        (dict[int, str], ".pkl"),
        (list[tuple[int, int]], ".pkl"),
        (dict[str, pd.DataFrame], ".pkl"),
        (Optional[str], ".pkl"),  # noqa: UP045 - users write it
        (pd.Series, ".pkl"),
        (Fit, ".pkl"),
        (int, ".json"),
        (set, ".pkl"),
        (Any, ".pkl"),
        (Iterator[int], ".pkl"),
        (ET.Element, ".pkl"),
    ],
)
def test_the_type_decides_where_nothing_is_declared(type_: Any, suffix: str) -> None:
    assert suffix == codec_of(Out(), type_).suffix


def test_path_goes_before_type_and_declaration_before_path() -> None:
    assert "csv" == codec_of(Out(path="x/{day}.csv"), pd.DataFrame).format
    assert "feather" == codec_of(Out("feather", path="x/{day}"), pd.DataFrame).format


@pytest.mark.parametrize(
    ("format_", "type_"),
    [
        ("json", pd.DataFrame),
        ("json", Fit),
        ("json", np.ndarray),
        ("json", list[tuple[int, int]]),
        ("json", dict[int, str]),
        ("json", set),
        ("parquet", str),
        ("parquet", pd.Series),
        ("parquet", Optional[pd.DataFrame]),  # noqa: UP045 - users write it
        ("csv", list[dict[str, int]]),
        ("txt", bytes),
        ("txt", int),
        ("npy", list),
        ("npz", np.ndarray),
        ("png", str),
        ("xml", dict),
        ("jsonl", dict),
    ],
)
def test_a_format_that_cannot_hold_the_type_is_refused(format_: str, type_: Any) -> None:
    with pytest.raises(ConfigError, match=rf"Out\('{format_}'\) cannot hold .*; it holds"):
        codec_of(Out(format_), type_)


@pytest.mark.parametrize(
    ("out", "type_", "words"),
    [
        (Out("jsonl"), Any, "whether the result is a frame or a list"),
        (Out(columns={"a": int}), str, "has columns"),
        (Out("json", columns={"a": int}), dict, "has columns, and dict has none"),
        (Out(encoding="cp932"), pd.DataFrame, "only text formats"),
        (Out(max_bytes="1M"), Fit, "kept in parts"),
        (Out(compression="snappy"), str, "compression='snappy'"),
    ],
)
def test_settings_that_do_not_go_with_the_type_are_refused(
    out: Out, type_: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        codec_of(out, type_)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Fit, None),
        (pd.DataFrame, pa.table({"a": [1]})),
        (dict, [1]),
        (Report, [1]),
        (str, b"x"),
        (int, True),
        (int, 1.5),
        (bool, 1),
        (list[int], (1, 2)),
        (None, 3),
    ],
)
def test_a_result_of_another_type_is_refused(type_: Any, value: Any) -> None:
    with pytest.raises(DataError, match=r"The result of Clicks.out is .*; the class says"):
        codec_of(Out(), type_).refuse(value, "Clicks.out")


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (float, 3),
        (float, np.float64(3)),
        (int, np.int64(3)),
        (dict, collections.OrderedDict(a=1)),
        (None, None),
        (typing.Union[str, int], 3),  # noqa: UP007 - users write it
        (Callable[[int], int], abs),
        (typing.Protocol, 3),
        (object, 3),
    ],
)
def test_a_result_of_the_type_passes(type_: Any, value: Any) -> None:
    codec_of(Out("pickle"), type_).refuse(value, "Clicks.out")


def test_without_a_type_the_format_decides_what_it_holds() -> None:
    with pytest.raises(DataError, match="is int, which txt cannot hold; it holds str"):
        codec_of(Out("txt"), Any).refuse(3, "Clicks.out")


def test_a_folder_is_written_and_read_by_the_functions_of_the_user(tmp_path: Path) -> None:
    def save(value: list[str], folder: Path) -> None:
        for i, text in enumerate(value):
            (folder / f"{i}.txt").write_text(text)

    def load(folder: Path) -> list[str]:
        return [path.read_text() for path in sorted(folder.iterdir())]

    codec = codec_of(Out(save=save, load=load), list[str])
    codec.write(["a", "b"], tmp_path / "x")

    assert (True, "", "") == (codec.is_folder, codec.suffix, codec.shown)
    assert ["a", "b"] == codec.read(tmp_path / "x")
    with pytest.raises(DataError, match=r"save wrote no file"):
        codec.write([], tmp_path / "y")


def test_the_declaration_tells_types_and_formats_apart() -> None:
    declarations = [
        codec_of(Out(), pd.DataFrame).declaration(),
        codec_of(Out(), pa.Table).declaration(),
        codec_of(Out("csv"), pd.DataFrame).declaration(),
    ]

    assert 3 == len({str(one) for one in declarations})
    assert "parquet" == declarations[0]["format"]


_WRITE_ALL = """
import hashlib, pathlib, sys, datetime as dt
import numpy as np, pandas as pd, pyarrow as pa
import xml.etree.ElementTree as ET
from typing import Any
from tadka.task.output.codec import codec_of
from tadka.task.output.out import Out
words = {f"word {i}" for i in range(100)}
frame = pd.DataFrame({
    "c": pd.Categorical(["b", "a", None]), "s": ["01", None, "x"], "f": [1.5, None, 2.0],
    "t": pd.date_range("2020-01-01", periods=3, tz="Asia/Tokyo"), "d": [{"p": 1, "q": 2}] * 3,
}, index=pd.Index([3, 1, 2], name="id"))
flat = frame.drop(columns="d")
table = pa.Table.from_pandas(flat)
values = [(frame, pd.DataFrame, Out(format_)) for format_ in ("parquet", "feather", "jsonl")]
values += [(flat, pd.DataFrame, Out(f, compression="gzip")) for f in ("csv", "tsv", "parquet")]
values += [(table, pa.Table, Out(f, max_bytes=50)) for f in ("parquet", "feather")]
values += [
    ({"a": [1, 2.5]}, dict, Out(compression="gzip")), ([{"a": 1}], list, Out("jsonl")),
    ("text", str, Out()), (np.arange(5), np.ndarray, Out()),
    ({"b": np.ones(2), "a": np.arange(2)}, dict[str, np.ndarray], Out()),
    (words, set, Out()), ({"w": frozenset(words), "x": [words]}, Any, Out(compression="gzip")),
    (ET.fromstring("<a b='1' a='2'/>"), ET.Element, Out("xml")),
]
try:
    import polars as pl
    mine = pl.DataFrame({"a": ["x", "y"], "c": pl.Series(["b", "a"], dtype=pl.Categorical)})
    values += [(mine, pl.DataFrame, Out(f)) for f in ("parquet", "feather", "csv", "jsonl")]
except ImportError:
    pass
try:
    from matplotlib.figure import Figure
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    values += [(figure, Figure, Out("png")), (np.eye(3).astype("u1"), np.ndarray, Out("jpg"))]
except ImportError:
    pass
for i, (value, type_, out) in enumerate(values):
    target = pathlib.Path(sys.argv[1]) / str(i)
    codec_of(out, type_).write(value, target)
    files = sorted(target.rglob("*")) if target.is_dir() else [target]
    for file in files:
        print(i, out.format, file.name, hashlib.sha256(file.read_bytes()).hexdigest())
"""


@pytest.mark.timeout(240)
def test_the_same_value_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    seen = []
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _WRITE_ALL, str(tmp_path / seed)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stderr
        seen.append(done.stdout)

    assert seen[0] == seen[1]
    assert len(seen[0].splitlines()) > 20


def test_importing_the_codecs_loads_no_heavy_library() -> None:
    code = (
        "import sys, tadka.task.output.codec\n"
        "heavy = {'pyarrow', 'pandas', 'polars', 'PIL', 'matplotlib', 'torch'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert not done.stdout.strip()


@pytest.mark.parametrize(
    ("out", "type_", "value"),
    [
        (Out(), pd.DataFrame, pd.DataFrame({"a": [1, 2]}, index=["x", "y"])),
        (Out("feather"), pa.Table, pa.table({"a": [1]})),
        (Out("csv", encoding="cp932"), pd.DataFrame, pd.DataFrame({"a": ["01", "\u3042"]})),
        (Out("jsonl", compression="gzip"), list[int], [1, 2]),
        (Out("jsonl"), pd.DataFrame, pd.DataFrame({"a": [1.5]})),
        (Out(path="x.json.gz"), dict, {"a": 1}),
        (Out(), str, "text"),
        (Out(), dict[str, np.ndarray], {"a": np.arange(3)}),
        (Out("png"), bytes, b"\x89PNG\r\n\x1a\n"),
        (Out("xml"), str, "<a>b</a>"),
        (Out("parquet", max_bytes=100), pd.DataFrame, pd.DataFrame({"a": range(100)})),
        (Out(), Any, {1, 2}),
    ],
)
def test_a_result_is_read_without_its_class(
    out: Out, type_: Any, value: Any, tmp_path: Path
) -> None:
    codec = codec_of(out, type_)
    description = codec.write(value, tmp_path / "x").to_json()

    read = codec_of_stored(json.loads(json.dumps(out.declaration())), description)
    found = read.read(tmp_path / "x")

    assert type(value) is type(found)
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(value, found)
    elif isinstance(value, dict):
        assert value.keys() == found.keys()
    else:
        assert value == found


def test_what_functions_of_the_class_wrote_needs_the_class(tmp_path: Path) -> None:
    def save(value: str, folder: Path) -> None:
        (folder / "x").write_text(value)

    def load(folder: Path) -> str:
        raise NotImplementedError

    out = Out(save=save, load=load)
    description = codec_of(out, str).write("a", tmp_path / "x").to_json()

    assert "dir" == description["format"]
    with pytest.raises(ConfigError, match="import the class"):
        codec_of_stored(out.declaration(), description)
