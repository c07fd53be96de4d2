# ruff: noqa: DTZ001, DTZ901 - naive times are UTC in this room
# ruff: noqa: F401 - names that the bodies of classes given as text use
import inspect
import pickle
import subprocess
import sys
from dataclasses import KW_ONLY, InitVar, field
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, List, Optional  # noqa: UP035 - users write them

import cloudpickle
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.features import (
    Buckets,
    Features,
    Hashed,
    Log,
    Number,
    Skip,
    Vocabulary,
)
from tests.unit.features.rows import Everything, entries


class Impression(Features, size=64, groups={"cvr": ["hour", "user"]}, version=3):
    time: datetime
    user: str | None
    category: int | None = None

    @property
    def hour(self) -> str:
        return str(self.time.hour)

    @property
    def category_hour(self) -> str:
        return f"{self.category}_{self.hour}"


NOON = datetime(2024, 2, 29, 12)


def define(body: str, **keywords: Any) -> Any:
    """A class from the text of its body, with the names of this module."""
    make_class: Any = type(Features)
    return make_class("Row", (Features,), _namespace(body), **keywords)


def _namespace(body: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__module__": __name__}
    exec(inspect.cleandoc(body), globals(), namespace)
    return namespace


def test_a_feature_class_is_a_dataclass() -> None:
    row = Impression(NOON, "u", category=2)

    assert row == Impression(NOON, "u", 2)
    assert "user='u'" in repr(row)
    assert "12" == row.hour
    with pytest.raises(TypeError, match="missing"):
        Impression()  # type: ignore[call-arg]


def test_fields_then_properties_are_the_features() -> None:
    definition = Impression.definition()

    assert ["user", "category", "hour", "category_hour"] == [f.name for f in definition.features]
    assert ["time", "user", "category"] == [f.name for f in definition.fields]
    assert [1, 2, 3] == [f.number for f in definition.fields]
    assert (3, 64, "Impression") == (definition.version, definition.size, definition.name)
    assert Hashed() == definition.features[0].encoding
    assert definition is Impression.definition()


def test_a_group_keeps_the_order_of_the_class() -> None:
    assert ["user", "hour"] == [f.name for f in Impression.definition("cvr").features]
    with pytest.raises(ConfigError, match="no group 'ctr'; it has: 'cvr'"):
        Impression.definition("ctr")


def test_every_way_to_write_a_type_is_read() -> None:
    made = define(
        """
        a: Optional[str]
        b: "int | None"
        c: Annotated[Optional[float], Log()]
        d: Annotated[float, "words", Number(1.0, 2.0)] | None
        e: List[int] = field(default_factory=list)
        f: Annotated[str, Skip()] = ""
        constant: ClassVar[int] = 5
        """
    )
    definition = made.definition()

    assert ["str | None", "int | None", "float | None", "float | None", "list[int]", "str"] == [
        str(f) for f in definition.fields
    ]
    assert [Hashed(), Hashed(), Log(), Number(1.0, 2.0), Hashed()] == [
        f.encoding for f in definition.features
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a: bytes", "Field 'a' of 'Row' has the type bytes; supported are str, int"),
        ("a: date", "has the type date; supported"),
        ("a: dict[str, int]", r"has the type dict\[str, int\]; supported"),
        ("a: str | int", "supported are"),
        ("a: list[str] | None", "a list cannot be missing"),
        ("a: list[str | None]", "supported are"),
        ("a: list[list[int]]", "supported are"),
        ("a: list", "supported are"),
        ("a: 'Unknown'", "An annotation of Row cannot be evaluated: name 'Unknown'"),
        ("a: InitVar[int]", "is an InitVar"),
        ("a: int = field(init=False, default=1)", "has init=False"),
        ("a: list[str] = []", "cannot be a feature class: mutable default"),
        ("a: int = 1\nb: int", "cannot be a feature class: non-default argument 'b'"),
        ("a: list[float]", r"has no encoding of its own; write Annotated"),
        ("a: Annotated[str, Log()]", "is str, which Log does not take; it takes int, float, bool"),
        ("a: Annotated[list[int], Number()]", "which Number does not take"),
        ("a: Annotated[str, Buckets([1])]", "which Buckets does not take"),
        ("a: Annotated[bool, Buckets([1])]", "which Buckets does not take"),
        ("a: Annotated[float, Hashed()]", "which Hashed does not take"),
        ("a: Annotated[float, Vocabulary(['a'])]", "which Vocabulary does not take"),
        ("a: Annotated[datetime, Hashed()]", "a datetime, which is never a feature"),
        ("a: Annotated[list[datetime], Hashed()]", "a datetime, which is never a feature"),
        ("a: Annotated[int, Log(), Number()]", "has 2 encodings"),
        ("a: Annotated[int, Log]", r"annotated with the class Log; write Log\(\)"),
        ("a: datetime", "'Row' has no feature"),
        ("a: Annotated[int, Skip()]", "'Row' has no feature"),
        ("encode: int", "defines 'encode', which is a method of Features"),
        ("a: int\ndef proto(self): ...", "defines 'proto', which is a method of Features"),
        ("a: int\n@property\ndef a(self) -> int: return 1", "both a field and a property 'a'"),
        ("a: int\n@property\ndef b(self): return 1", "'b' of 'Row' has no return annotation"),
        ("a: int\n@property\ndef b(self) -> set: return 1", "Property 'b' of 'Row' has the type"),
        ("a: int\n@property\ndef b(self) -> 'Nope': return 1", "Property 'b'.*cannot be evaluated"),
        ("a: int\n@property\ndef b(self) -> list[str] | None: ...", "a list cannot be missing"),
        ("a: int\n@cached_property\ndef b(self) -> int: return 1", "is a cached_property"),
        ("a: int\nb = property(None)", "'b' of 'Row' cannot be read"),
        ("a: int\ndef __init__(self): ...", "defines '__init__'.*Use __post_init__"),
        ("_a: int", "Field '_a' of 'Row' cannot stand in a message"),
        ("ü: int", "cannot stand in a message"),
        ("a_b: int\naB: int", "Field 'aB' of 'Row' and 'a_b' have the same name 'aB'"),
    ],
)
def test_a_class_that_cannot_be_is_refused_where_it_is_defined(body: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        define(body)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"size": 0}, "size of 'Row' is 0; it must be from 1"),
        ({"size": 2**31}, "it must be from 1"),
        ({"size": True}, "it must be from 1"),
        ({"size": 2.0}, "it must be from 1"),
        ({"version": "1"}, "version of 'Row' is '1'"),
        ({"version": -1}, "version of 'Row' is -1"),
        ({"groups": {"g": ["b"]}}, "Group 'g' of 'Row' has 'b', which is no feature; there are: a"),
        ({"groups": {"g": []}}, "Group 'g' of 'Row' has no features"),
        ({"groups": {"g": "a"}}, "give a list of names"),
        ({"groups": {1: ["a"]}}, "give a list of names"),
        ({"proto": "."}, "cannot be read"),
    ],
)
def test_a_wrong_class_keyword_is_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        define("a: int", **keywords)
    with pytest.raises(TypeError):
        define("a: int", sise=3)


def test_features_that_need_too_many_slots_are_refused() -> None:
    made = define(
        "a: int\nb: Annotated[int, Hashed(size=2**31 - 1)]\nc: Annotated[int, Log()]", size=5
    )

    with pytest.raises(ConfigError, match="need 2,147,483,654 slots"):
        made.encode([])


def test_a_class_of_a_name_that_protobuf_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="'_Row' cannot name a message"):

        class _Row(Features):
            a: int


def test_a_subclass_adds_features_and_overrides_properties() -> None:
    class Wider(Impression):
        site: str = ""
        user: Annotated[str | None, Skip()] = None

        @property
        def hour(self) -> str:
            return "always"

        @property
        def site_hour(self) -> str:
            return self.site + self.hour

    definition = Wider.definition()

    assert ["category", "site", "hour", "category_hour", "site_hour"] == [
        f.name for f in definition.features
    ]
    assert ["time", "user", "category", "site"] == [f.name for f in definition.fields]
    assert (64, 1) == (definition.size, definition.version)
    assert "None_always" == Wider(NOON).category_hour


def test_a_field_and_a_property_of_one_name_in_base_and_subclass_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"property 'user' of 'Hides' hides the field 'user'"):

        class Hides(Impression):
            @property  # type: ignore[misc]
            def user(self) -> str:  # type: ignore[override]
                return ""

    with pytest.raises(ConfigError, match="field 'hour' of 'Covers' hides a property"):

        class Covers(Impression):
            hour: str  # type: ignore[misc]


def test_a_class_without_features_is_refused_when_it_is_used() -> None:
    class Common(Features):
        """Only methods."""

        def helper(self) -> int:
            return 1

    class Row(Common):
        n: int

        @property
        def more(self) -> int:
            return self.n + self.helper()

    for cls in (Features, Common):
        for call in (cls.definition, cls.proto, cls.explain, lambda cls=cls: cls.encode([])):
            with pytest.raises(ConfigError, match=r"has no features. Write a subclass"):
                call()
    assert 2 == len(Row.encode([Row(1)]).slots)


def test_times_enter_a_row_as_naive_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    row = Impression(datetime(2024, 1, 1, 3, tzinfo=tokyo), None)

    assert datetime(2023, 12, 31, 18) == row.time
    row.time = datetime(2024, 1, 1, 5, tzinfo=UTC)
    assert "5" == row.hour
    assert NOON == Impression(NOON.replace(fold=1), None).time
    assert 0 == Impression(NOON.replace(fold=1), None).time.fold
    with pytest.raises(DataError, match="outside the years 1 to 9999"):
        Impression(datetime(1, 1, 1, tzinfo=tokyo), None)
    many = Everything(
        NOON,
        None,
        None,
        "",
        None,
        0,
        0.0,
        None,
        True,
        None,
        times=[datetime(2024, 1, 1, 5, tzinfo=UTC)],
    )
    assert [datetime(2024, 1, 1, 5)] == many.times


def test_a_default_time_survives_in_a_subclass_that_annotates_it_anew() -> None:
    class Base(Features):
        n: int
        time: datetime = NOON
        times: list[datetime] = field(default_factory=list)

    class Again(Base):
        time: datetime
        times: list[datetime]

    made: Any = Again

    assert (NOON, []) == (made(1).time, made(1).times)


def test_keyword_only_fields_work_in_every_path() -> None:
    class Row(Features):
        a: int
        _: KW_ONLY
        b: str = "x"

    row = Row(1, b="y")

    assert row == Row.from_message(row.to_message())
    assert entries(Row.encode([row])) == entries(Row.encode([row.to_message()]))


def test_a_row_survives_its_message() -> None:
    row = Impression(datetime.max, "日本\0", -(2**63))

    assert row == Impression.from_message(row.to_message())
    assert Impression(datetime(1970, 1, 1), None) == Impression.from_message(b"")


def test_a_damaged_message_is_refused_with_the_class() -> None:
    with pytest.raises(DataError, match="The message is no Impression: field 'user' is not UTF-8"):
        Impression.from_message(b"\x12\x01\xff")


def test_what_a_row_s_own_code_raises_is_told() -> None:
    class Strict(Features):
        n: int

        def __post_init__(self) -> None:
            if self.n < 0:
                raise RuntimeError("negative")

    message = define("n: int")(-1).to_message()

    with pytest.raises(DataError, match=r"Strict cannot be made of \[-1\]: RuntimeError: negative"):
        Strict.from_message(message)
    with pytest.raises(DataError, match="Row 1: Strict cannot be made"):
        Strict.encode([Strict(1).to_message(), message])


def test_instances_travel_by_pickle_and_compare_equal() -> None:
    row = Impression(NOON, "u", 5)
    Impression.encode([row])

    assert row == pickle.loads(pickle.dumps(row))
    assert Impression is pickle.loads(pickle.dumps(Impression))


SCRIPT = """
import pickle, sys
cls, row, message, slots, digest = pickle.load(open(sys.argv[1], "rb"))
assert cls.__module__ == "elsewhere"
assert cls.encode([message]).slots.tolist() == slots
assert cls.encode([row]).slots.tolist() == slots
assert cls.definition().hash == digest
assert cls.from_message(message) == row
assert cls(None, None).to_message is not None
print(cls.definition("cvr").num_features, "message" in cls.proto())
"""


def test_a_class_travels_by_cloudpickle_to_a_process_without_its_source(tmp_path: Path) -> None:
    source = inspect.getsource(Impression).replace("groups=", 'proto="numbers.proto", groups=')
    module = tmp_path / "elsewhere.py"
    module.write_text(
        "from datetime import datetime\nfrom tadka.features import Features\n" + source
    )
    make = f"""
import sys, cloudpickle, datetime, pickle
sys.path.insert(0, {str(tmp_path)!r})
from tadka.cli.app import app
app(["features", "proto", "elsewhere:Impression", "--update"], standalone_mode=False)
del sys.modules["elsewhere"]
import elsewhere
cloudpickle.register_pickle_by_value(elsewhere)
Impression = elsewhere.Impression
row = Impression(datetime.datetime(2024, 1, 1), "u", 7)
made = (Impression, row, row.to_message(), Impression.encode([row]).slots.tolist(),
        Impression.definition().hash)
open({str(tmp_path / "made.pickle")!r}, "wb").write(cloudpickle.dumps(made))
"""
    subprocess.run([sys.executable, "-c", make], check=True, cwd=tmp_path)
    module.unlink()
    (tmp_path / "numbers.proto").unlink()

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "made.pickle")],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert "2 True" == done.stdout.strip()


def test_a_class_whose_definition_fails_can_still_travel() -> None:
    made = define("a: int", proto="nowhere.proto")

    copy = cloudpickle.loads(cloudpickle.dumps(made))

    with pytest.raises(ConfigError, match="does not exist"):
        copy.definition()


def test_importing_the_room_loads_neither_pyarrow_nor_pandas() -> None:
    code = "import sys, tadka.features; print({'pyarrow', 'pandas'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert "set()" == done.stdout.strip()


def test_equal_rows_have_equal_entries_whatever_the_class_is_called() -> None:
    class Other(Features, size=64):
        time: datetime
        user: str | None
        category: int | None = None

    mine = Impression.encode([Impression(NOON, "u", 1)])
    others = Other.encode([Other(NOON, "u", 1)])

    assert mine.slots[:2].tolist() == others.slots.tolist()
    assert Impression.definition().hash != Other.definition().hash
