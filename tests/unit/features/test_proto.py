# ruff: noqa: DTZ001 - naive times are UTC in this room
import importlib.util
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.features import Features
from tadka.features.annotation import read_annotation
from tadka.features.declaration import Member
from tadka.features.proto import (
    Message,
    ProtoField,
    message_of,
    read,
    refuse_renumbering,
    updated,
    write,
)
from tests.unit.features.rows import Everything


def declared(**fields: Any) -> Any:
    """Fields of these types."""
    return [Member(name, read_annotation(kind, name)[0], None) for name, kind in fields.items()]


def numbers(message: Message) -> dict[str, int]:
    return {field.name: field.number for field in message.fields}


def test_protoc_compiles_the_file_and_its_class_reads_our_bytes(tmp_path: Path) -> None:
    (tmp_path / "everything.proto").write_text(Everything.proto(), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "everything.proto"],
        check=True,
        cwd=tmp_path,
    )
    spec = importlib.util.spec_from_file_location("made_pb2", tmp_path / "everything_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    row = Everything(
        datetime(2024, 1, 1), None, "日", "", -3, 0, 0.5, None, True, False, tags=["a", ""]
    )

    theirs = module.Everything()
    theirs.ParseFromString(row.to_message())

    assert "tadka.everything.Everything" == theirs.DESCRIPTOR.full_name
    assert (1704067200000000, "日", -3, 0.5, True, ["a", ""]) == (
        theirs.time, theirs.user, theirs.category, theirs.price, theirs.flag, list(theirs.tags)
    )  # fmt: skip
    assert theirs.HasField("answer")
    assert not theirs.HasField("seen")
    assert row == Everything.from_message(theirs.SerializeToString())


@pytest.mark.parametrize(
    "name", ["message", "reserved", "optional", "repeated", "string", "syntax", "package", "to"]
)
def test_words_of_protobuf_may_name_fields(name: str, tmp_path: Path) -> None:
    text = write(updated("Message", declared(**{name: str, "n": int | None}), None, ""))
    (tmp_path / "a.proto").write_text(text, encoding="utf-8")

    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "a.proto"],
        check=True,
        cwd=tmp_path,
    )

    assert {name: 1, "n": 2} == numbers(read(text, "Message", "'f'"))


def test_what_is_written_is_read_again() -> None:
    fields = declared(a=str, b=int | None, t=datetime, c=list[int], d=bool)
    message = updated("HTTPRow2Go", fields, None, "")

    assert message == read(write(message), "HTTPRow2Go", "'f'")
    assert "tadka.http_row2_go" == message.package


def test_history_keeps_numbers_of_moved_fields_and_reserves_removed_ones() -> None:
    first = updated("Row", declared(a=str, b=int, c=bool), None, "")
    second = updated("Row", declared(c=bool, new=str, a=str), first, "")
    third = updated("Row", declared(c=bool, newer=str), read(write(second), "Row", "'f'"), "")

    assert {"a": 1, "c": 3, "new": 4} == numbers(second)
    assert ((2,), ("b",)) == (second.reserved_numbers, second.reserved_names)
    assert {"c": 3, "newer": 5} == numbers(third)
    assert ((1, 2, 4), ("a", "b", "new")) == (third.reserved_numbers, third.reserved_names)


def test_a_name_that_is_reserved_is_refused() -> None:
    first = updated("Row", declared(a=str, b=int), None, "")
    second = updated("Row", declared(a=str), first, "")

    with pytest.raises(ConfigError, match="'b' of 'Row' is reserved in 'f'"):
        updated("Row", declared(a=str, b=int), second, "'f'")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (str, int, ["string", "int64"]),
        (str, list[str], ["string", "repeated string"]),
        (datetime, int, [r"int64 \(a datetime\)", "int64"]),
        (float, bool, ["double", "bool"]),
    ],
)
def test_a_field_of_another_type_is_refused_with_both(
    before: Any, after: Any, words: list[str]
) -> None:
    history = read(write(updated("Row", declared(a=before), None, "")), "Row", "'f'")

    with pytest.raises(ConfigError, match=f"'a' is '{words[0]}' in 'f' and '{words[1]}' in the"):
        updated("Row", declared(a=after, b=str), history, "'f'")


def test_numbers_that_protobuf_keeps_are_left_out() -> None:
    history = Message("Row", "p", (ProtoField("a", 18_999, "", "string"),))

    assert 20_000 == numbers(updated("Row", declared(a=str, b=str), history, ""))["b"]


GOOD = """
/* ours */ syntax = "proto3"; // a comment
option java_package = "x.y";
import "google/protobuf/any.proto";
package p.q;
message Other { int64 x = 1; reserved 3 to 5, 9; }
service Scorer { rpc Score (Row) returns (Other) { option deadline = 1; } }
message Row {
  string a = 1;
  optional int64 b = 7;
  int64 t = 8;  // datetime: microseconds
  int64 old = 9;
}
"""


def test_other_messages_and_services_beside_the_row_are_left_alone() -> None:
    message = read(GOOD, "Row", "'f'")

    assert {"a": 1, "b": 7, "t": 8, "old": 9} == numbers(message)
    assert "p.q" == message.package
    assert [False, False, True, False] == [field.is_time for field in message.fields]
    assert (3, 4, 5, 9) == read(GOOD, "Other", "'f'").reserved_numbers


def test_the_proto_file_of_a_service_may_be_the_history_of_its_row() -> None:
    service = GOOD + "service S { rpc A (Row) returns (B); } message B { repeated Row r = 1; }"

    assert {"a": 1, "b": 7, "t": 8, "old": 9} == numbers(read(service, "Row", "'f'"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("message Row", "message Rows", "has no message 'Row'; it has: Other, Rows"),
        ("= 7", "= 1", "Fields 'a' and 'b' both have number 1"),
        ("string a = 1;", "reserved 7; string a = 1;", "'b' has number 7 .* which is reserved"),
        ("string a = 1;", 'reserved "b"; string a = 1;', "'b' has number 7 .* its name is there"),
        ("int64 b", "int64 a", "'a' has number 7 .*name is there already: 1"),
        ("= 7", "= 0", "'b' has number 0"),
        ("= 7", "= 536870912", "'b' has number 536870912"),
        ("= 7", "= 19500", "'b' has number 19500"),
        ('"proto3"', '"proto2"', "Line 2 of 'f' has '\"proto2\"'"),
        ("string a", "bytes a", "Line 9 of 'f' has 'bytes'"),
        ("string a = 1;", "oneof x { string a = 1; }", "Line 9 of 'f' has 'oneof'"),
        ("string a = 1;", "string a = 1 [deprecated = true];", r"has '\['"),
        ("string a = 1;", "string a = 01x;", "Line 9 of 'f' has '01x"),
        ("string a = 1;", "reserved 1 to 900000;", "has 'to 900000'"),
        ("int64 old = 9;\n}", "int64 old = 9;", "has 'the end'"),
        ("package p.q;", "package p.q; ~", "has '~"),
    ],
)
def test_a_file_that_we_did_not_write_is_refused(old: str, new: str, message: str) -> None:
    assert old in GOOD

    with pytest.raises(ConfigError, match=message):
        read(GOOD.replace(old, new), "Row", "'f'")


def row_class(history: Path, text: str | None, body: dict[str, Any]) -> Any:
    if text is not None:
        history.write_text(text, encoding="utf-8")
    namespace = {"__annotations__": body, "__module__": __name__}
    make_class: Any = type(Features)
    return make_class("Row", (Features,), namespace, proto=str(history))


def test_a_class_with_a_history_takes_its_numbers(tmp_path: Path) -> None:
    text = write(updated("Row", declared(a=str, b=int, c=bool), None, ""))

    row = row_class(tmp_path / "row.proto", text, {"c": bool, "a": str})

    assert {"c": 3, "a": 1} == {f.name: f.number for f in row.definition().fields}
    assert 'reserved 2;\n  reserved "b";' in row.proto()
    assert b"\x0a\x01x\x18\x01" == row(c=True, a="x").to_message()


@pytest.mark.parametrize(
    ("text", "body", "message"),
    [
        (None, {"a": str}, r"row.proto' of 'Row' does not exist. Run: tadka features proto .*--up"),
        ({"a": str}, {"a": str, "b": int}, "'b' of 'Row' has no number .* yet. Run: tadka"),
        ({"a": str}, {"a": int}, "a field keeps its type"),
        ({"a": str}, {"a": str | None}, "is 'string' in .* and 'optional string' in .* Run: tadka"),
        ("nonsense", {"a": str}, "Line 1 of .* has 'nonsense'"),
    ],
)
def test_a_history_that_does_not_go_with_the_class_is_refused_when_needed(
    tmp_path: Path, text: Any, body: dict[str, Any], message: str
) -> None:
    if isinstance(text, dict):
        text = write(updated("Row", declared(**text), None, ""))

    row = row_class(tmp_path / "row.proto", text, body)

    for call in (row.definition, row.proto):
        with pytest.raises(ConfigError, match=message):
            call()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({"a": str, "b": int}, {"b": int, "a": str}, "'a' has number 1 in 'f' and 2 in the class"),
        ({"a": str, "b": int}, {"a": str}, "'b' has number 2 in 'f' and none in the class"),
        ({"a": str}, {"a": int}, "'a' is 'string' in 'f' and 'int64' in the class"),
        ({"a": str, "b": int}, {"b": int}, "proto=.*--update"),
    ],
)
def test_writing_over_other_numbers_is_refused_with_both(
    old: dict[str, Any], new: dict[str, Any], message: str
) -> None:
    before = updated("Row", declared(**old), None, "")

    with pytest.raises(ConfigError, match=message):
        refuse_renumbering(updated("Row", declared(**new), None, ""), before, "'f'")


def test_writing_over_reserved_numbers_is_refused() -> None:
    first = updated("Row", declared(a=str, b=int), None, "")
    kept = updated("Row", declared(a=str), first, "")

    with pytest.raises(ConfigError, match=r"'c' has number 2 .* which 'f' reserves"):
        refuse_renumbering(updated("Row", declared(a=str, c=int), None, ""), kept, "'f'")
    refuse_renumbering(updated("Row", declared(a=str, c=int), kept, ""), kept, "'f'")


def test_a_message_in_order_of_declaration_needs_no_file() -> None:
    message = message_of("Row", Everything._declaration, "")

    assert list(range(1, len(message.fields) + 1)) == [f.number for f in message.fields]
