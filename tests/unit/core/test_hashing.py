# ruff: noqa: DTZ001 - times without a zone are values to be hashed, too

import dataclasses
import datetime as dt
import enum
import hashlib
import subprocess
import sys
from collections import OrderedDict, namedtuple
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.hashing import digest, digest_file

NAN = float("nan")


def sha(*parts: bytes | str) -> bytes:
    return hashlib.sha256(b"".join(p.encode() if isinstance(p, str) else p for p in parts)).digest()


# The committed vectors: a change here means that every stored key is lost.
VECTORS: list[tuple[Any, str]] = [
    (None, "da33d64ea6256528f183299a9a589b0e3495061a246388d7df6c944c20d2de5d"),
    (True, "9268047e8ac07b4940f074f38b5d7c6d6aab98e92bd286b059a4c0c6c613f524"),
    (1, "13aaa720a36e7abdb795d99d25318d34f1baceb461077584bf2030024308594d"),
    (1.0, "96727181dc3973aefea8f10f8bf24655f5ca6b2f7ca23204bc1009c54a98c3fb"),
    (NAN, "b9da1c33a67fb6e22b20540326994b4eb9d0abfca74d058516623cb83e926da1"),
    (-0.0, "428213cc6074edf0de9c910897f8e420b52549a799b10cf21b5d24babb19ced2"),
    ("1", "e44f4e2a1fd206c187308862fcfa00df8eec9d078638fd508673d95d3a42d7f1"),
    (b"1", "548c67053eac86c2f6ecbe48158dcded4f8117d5ea7b8174a65d05109355a80b"),
    ([1, 2], "829dd9a430ad05385e61dfd8fd0b4c401fb13c6d1a18f5ff7ba560dc7efbc426"),
    ((1, 2), "924e719c4879d88011031c32b2b791ce75cf784af1783bdb1c22f8cc78b56a3d"),
    (
        {"b": [1.5, None], "a": {"x", "y"}},
        "748cef7fbcb7c0b66239e3ce5f1ba75562b42506d893092304a88f0fe990c0ac",
    ),
    (
        dt.date(2026, 11, 1),
        "b5f35c2ef858fbb4614cd43893544bc93e5cc2519b5fe9a258a6bd8a87aa0b96",
    ),
    (
        dt.datetime(2026, 11, 1, 2, 3, tzinfo=dt.UTC),
        "9a3677d9d6e56912f0893b2b742bef1aeec6ebbdc1f27c3a0ae53b4f1961fe7b",
    ),
    (Path("a/b"), "e1329ecc8348ff69ce8b7a8da6d72da350f6e42046daea36188e0e65c2942154"),
    (1j, "dfdc550fb8638c22f42e34051c38269f04e24840b434be0d5616e9e7603a00be"),
    (np.float32(0.5), "260a688428c180206028531787a10a43c48dd9513fb91210f05e5836304c554d"),
    (
        np.arange(6, dtype=np.int32).reshape(2, 3),
        "eddb2f4dce54767d716e9ea7b8930f9ce15dceb6f2ab690529a1a97fe8e9d6d5",
    ),
    (
        np.array(["a", "bc"]),
        "3bed8aebb9b128e5c8641c4180bce6ae4395c31753f76e6464633ca00716823f",
    ),
    (
        np.array([(1, 2.0)], [("a", "i8"), ("b", "f8")]),
        "205ea2f1700413d07f963eda674b31934fbc471a72b903145b9bd1fc3f9a186a",
    ),
    (
        np.array(["2026-11-01"], "M8[D]"),
        "7e883e2537fbf7b374e139bb4737afc09bd3ae16b1ef17d36f4a5a6efef5124c",
    ),
]


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass
class Place:
    x: float
    y: float = 0.0


Pair = namedtuple("Pair", ["first", "second"])  # noqa: PYI024 - the untyped form is tested too


# not by repr: that of a set differs between processes, and with it the names of the tests
_NAMES = [f"{place}-{type(value).__name__}" for place, (value, _) in enumerate(VECTORS)]


@pytest.mark.parametrize(("value", "expected"), VECTORS, ids=_NAMES)
def test_vector(value: Any, expected: str) -> None:
    assert expected == digest(value)


@pytest.mark.parametrize(
    ("value", "pre_image"),
    [
        (None, b"none:0:"),
        (True, b"bool:1:1"),
        (-12, b"int:3:-12"),
        (1.0, b"float:8:\x3f\xf0\0\0\0\0\0\0"),
        (NAN, b"float:8:\x7f\xf8\0\0\0\0\0\0"),
        ("é", b"str:2:\xc3\xa9"),
        (b"1", b"bytes:1:1"),
        (PurePosixPath("a/b"), b"path:3:a/b"),
        (dt.date(2026, 11, 1), b"date:10:2026-11-01"),
        (dt.datetime(2026, 11, 1, 2, 3), b"datetime:21:2026-11-01T02:03:00#0"),
        (dt.time(2, 3), b"time:10:02:03:00#0"),
        (dt.timedelta(days=1, seconds=2), b"timedelta:5:1:2:0"),
        ([1], b"list:32:" + sha("int:1:1")),
        ((), b"tuple:0:"),
        ({"a": 1}, b"dict:64:" + sha("str:1:a") + sha("int:1:1")),
        ({2, 1}, b"set:64:" + b"".join(sorted([sha("int:1:1"), sha("int:1:2")]))),
        (
            np.array([1, 2], np.int16),
            b"array:96:"
            + sha("str:3:<i2")
            + sha("tuple:32:", sha("int:1:2"))
            + sha(b"bytes:4:\x01\0\x02\0"),
        ),
    ],
    ids=repr,
)
def test_hash_is_sha256_of_the_documented_pre_image(value: Any, pre_image: bytes) -> None:
    assert hashlib.sha256(pre_image).hexdigest() == digest(value)


DIFFERENT: list[Any] = [
    None, False, True, 0, 1, 0.0, -0.0, 1.0, 1j, NAN, "", "1", "None", b"", b"1",
    [], [1], ["1"], [[1]], [1, 2], [12], (), (1,), set(), {1}, frozenset(), frozenset({1}),
    {}, {1: 2}, {"1": 2}, {2: 1}, [("a", 1)],
    Path("1"), dt.date(2026, 1, 1), dt.datetime(2026, 1, 1), dt.time(0), dt.timedelta(0),
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 1, 1, fold=1), "2026-01-01",
    Colour.RED, Colour.BLUE, Level.LOW, Point(1), Point(1, 2), Place(1), Pair(1, 2), (1, 2),
    np.int64(1), np.int32(1), np.float64(1), np.bool_(True), np.str_("1"),
    np.array(1), np.array([1]), np.array([1], np.int32), np.array([[1]]), np.array([1.0]),
    np.array([]), np.array([], np.int64), np.zeros((0, 2)), np.array(["1"]), np.array([1], object),
    np.array(["1"], object), np.array([0.0]), np.array([-0.0]), np.array([NAN]),
    np.array([(1, 2.0)], [("a", "i8"), ("b", "f8")]),
    np.array([(1, 2.0)], [("a", "i8"), ("c", "f8")]),
    np.array(["2026-01-01"], "M8[D]"), np.array(["2026-01-01"], "M8[s]"), np.array([1j]),
]  # fmt: skip


def test_different_values_and_different_types_have_different_hashes() -> None:
    by_hash: dict[str, Any] = {}
    for value in DIFFERENT:
        assert repr(by_hash.get(digest(value), value)) == repr(value)
        by_hash[digest(value)] = value

    assert len(DIFFERENT) == len(by_hash)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, OrderedDict(a=1)),
        ({1, "a", None}, {None, "a", 1}),
        (NAN, float("-nan")),
        (np.array([NAN]), np.array([0x7FF8DEAD00000000], np.uint64).view(float)),
        (np.array([complex(1, NAN)]), np.array([complex(1, -NAN)])),
        (np.array([1, 2], ">i4"), np.array([1, 2], "<i4")),
        (np.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3).T.copy()),
        (np.arange(9)[::3], np.array([0, 3, 6])),
        (Point(1, note="a"), Point(1, note="b")),
        (Path("a/b"), PurePosixPath("a//b")),
        ("\udcff", "\udcff"),
        (
            np.array([(1, 2)], np.dtype([("a", "i1"), ("b", "i8")], align=True)),
            np.array([(1, 2)], np.dtype([("a", "i1"), ("b", "i8")])),
        ),
    ],
)
def test_equal_values_have_equal_hashes(first: Any, second: Any) -> None:
    assert digest(first) == digest(second)


def test_hash_of_an_array_leaves_the_array_alone() -> None:
    array = np.array([0x7FF8DEAD00000000, 0], np.uint64)

    digest(array.view(float))

    assert [0x7FF8DEAD00000000, 0] == array.tolist()


def test_hash_is_the_same_in_another_process() -> None:
    value = {"b": {1, "x"}, "a": [1.5, None]}
    code = f"from tadka.core.hashing import digest; print(digest({value!r}))"

    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip

    assert {digest(value)} == outputs


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(plain, plain)
def test_hashes_are_equal_exactly_when_the_texts_of_the_values_are(first: Any, second: Any) -> None:
    def ordered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: ordered(value[key]) for key in sorted(value)}
        if isinstance(value, list | tuple):
            return type(value)(ordered(item) for item in value)
        return value

    assert (repr(ordered(first)) == repr(ordered(second))) == (digest(first) == digest(second))


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "type 'builtins.object' cannot be hashed; it must be None, bool, int"),
        (Text("a"), "Text' cannot be hashed"),
        (Point, "type 'builtins.type' cannot be hashed"),
        ({"a": [1, len]}, "at 'value['a'][1]' cannot be hashed"),
        (Point(1, y=len), "at 'value.y' cannot be hashed"),  # type: ignore[arg-type]
        (np.ma.masked_array([1], [True]), "MaskedArray' cannot be hashed"),
        (np.array([1, len], object), "at 'value[1]' cannot be hashed"),
        (np.array([1.0], np.longdouble), "hold undefined padding. Convert it to float64"),
        ([np.array([(1.0,)], [("a", np.longdouble)])], "at 'value[0]['a']' cannot be hashed"),
    ],
    ids=["object", "subclass", "class", "nested", "field", "masked", "element", "padded", "struct"],
)
def test_other_types_are_refused_with_their_place(value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        digest(value)

    assert message in str(caught.value)


def test_container_that_holds_itself_is_refused() -> None:
    value: list[Any] = [1]
    value.append({"a": value})

    with pytest.raises(ConfigError, match=r"container at 'value\[1\]\['a'\]' holds itself"):
        digest(value)


def test_container_that_stands_twice_is_no_cycle() -> None:
    shared = [1]

    assert digest([[1], [1]]) == digest([shared, shared])


def test_file_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")

    assert hashlib.sha256(b"abc").hexdigest() == digest_file(tmp_path / "a")


def test_missing_file_and_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        digest_file(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        digest_file(tmp_path)
