"""Plain values, text, bytes and XML come back as they were, or are refused."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import DataError
from tadka.task.output.codec import codec_of
from tadka.task.output.out import Out


def _round_trip(value: Any, type_: Any, out: Out, folder: Path) -> Any:
    codec = codec_of(out, type_)
    codec.refuse(value, "Test.out")
    codec.write(value, folder / "x")
    return codec.read(folder / "x")


_PLAIN = {"a": [1, 2.5, None, True, "é日"], "b": {"": []}, "z": 1, "big": 2**70, "inf": math.inf}


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "utf-16"])
def test_json_gives_plain_values_back(
    compression: str | None, encoding: str, tmp_path: Path
) -> None:
    out = Out("json", encoding=encoding, compression=compression)

    back = _round_trip(_PLAIN, dict, out, tmp_path)

    assert _PLAIN == back
    assert list(_PLAIN) == list(back)


def test_large_json_comes_back(tmp_path: Path) -> None:
    value = list(range(100_000))

    assert value == _round_trip(value, list[int], Out(), tmp_path)


def test_numbers_of_numpy_become_plain_numbers(tmp_path: Path) -> None:
    value = {"auc": np.float64(0.75), "n": np.int32(3), "ok": np.bool_(True)}

    back = _round_trip(value, dict, Out("json"), tmp_path)

    assert {"auc": 0.75, "n": 3, "ok": True} == back
    assert [float, int, bool] == [type(one) for one in back.values()]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, (2, 3)]}, "value['a'][1], which is 'tuple'"),
        ({"a": {1: 2}}, "the key 1 of value['a'], which is 'int'"),
        ({"a": {1}}, "value['a'], which is 'set'"),
        ([np.ones(2)], "value[0], which is 'ndarray'"),
        ([np.datetime64("2020")], "value[0], which is 'datetime64'"),
    ],
)
def test_json_names_the_place_that_it_cannot_hold(value: Any, place: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        _round_trip(value, type(value), Out("json"), tmp_path)

    assert f"JSON cannot hold {place}" in str(caught.value)


def test_json_lines_of_dicts_are_one_line_each(tmp_path: Path) -> None:
    rows = [{"a": "x\u2028\n", "b": [1]}, {"a": None}, {}]

    assert rows == _round_trip(rows, list[dict[str, Any]], Out("jsonl"), tmp_path)
    assert 3 == (tmp_path / "x").read_bytes().count(b"\n")
    assert [] == _round_trip([], list, Out("jsonl"), tmp_path)


@pytest.mark.parametrize("text", ["", "a\r\nb\rc\n", "\ufeffé日", "\x00"])
def test_text_keeps_every_character(text: str, tmp_path: Path) -> None:
    assert text == _round_trip(text, str, Out(), tmp_path)


def test_text_outside_the_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 'é' in line 2, which the encoding 'cp932'"):
        _round_trip("日本\né", str, Out("txt", encoding="cp932"), tmp_path)
    with pytest.raises(DataError, match="'utf-8' does not have"):
        _round_trip("\ud800", str, Out(), tmp_path)


def test_bytes_come_back(tmp_path: Path) -> None:
    assert b"\x00\xff" == _round_trip(b"\x00\xff", bytes, Out(compression="gzip"), tmp_path)


def test_xml_comes_back_as_element_tree_or_text(tmp_path: Path) -> None:
    text = "<shop city='京都'>tea<item n=\"1\"/>\n</shop>"
    root = ET.fromstring(text)

    assert text == _round_trip(text, str, Out("xml"), tmp_path)
    back = _round_trip(root, ET.Element, Out("xml"), tmp_path)
    assert ET.tostring(root) == ET.tostring(back)
    tree = _round_trip(
        ET.ElementTree(root), ET.ElementTree, Out("xml", encoding="utf-16"), tmp_path
    )
    assert isinstance(tree, ET.ElementTree)
    assert ET.tostring(root) == ET.tostring(tree.getroot())


@pytest.mark.parametrize("text", ["a\r\nb", "\x01"])
def test_xml_that_would_change_is_refused(text: str, tmp_path: Path) -> None:
    root = ET.Element("a")
    root.text = text

    with pytest.raises(DataError, match="XML"):
        _round_trip(root, ET.Element, Out("xml"), tmp_path)
    with pytest.raises(DataError, match="no XML"):
        _round_trip("<a>", str, Out("xml"), tmp_path)


@pytest.mark.parametrize(
    ("type_", "out", "content"),
    [
        (dict, Out("json"), b"{"),
        (dict, Out("json"), b"\xff"),
        (dict, Out("json", compression="gzip"), b"{}"),
        (list, Out("jsonl"), b"{\n"),
        (str, Out("txt"), b"\xff"),
        (ET.Element, Out("xml"), b""),
    ],
)
def test_a_damaged_file_is_a_data_error(
    type_: Any, out: Out, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(content)

    with pytest.raises(DataError, match="cannot be read as"):
        codec_of(out, type_).read(tmp_path / "x")


@pytest.mark.parametrize(("encoding", "text"), [("shift_jis", "¥"), ("cp932", "1\u22122")])
def test_text_that_the_encoding_gives_back_as_another_is_refused(
    encoding: str, text: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="in line 2, which the encoding"):
        _round_trip(f"a\\~\n{text}", str, Out("txt", encoding=encoding), tmp_path)


@pytest.mark.parametrize("format_", ["json", "jsonl"])
def test_what_holds_itself_or_is_too_deep_is_refused(format_: str, tmp_path: Path) -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]

    for value in (circle, deep):
        with pytest.raises(DataError, match="holds itself or is nested deeper"):
            _round_trip(value, list, Out(format_), tmp_path)
