"""R11: definitions go to YAML and back, and to Python and back, and stay what they are."""

import datetime as dt
import keyword
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadka.core.document import read_yaml
from tadka.core.error import ConfigError, NotFound
from tadka.dataset.check.check import Check
from tadka.dataset.check.custom import CheckedOutput, Custom
from tadka.dataset.check.inputs import Fresh, Matched
from tadka.dataset.check.rows import RowCount, Unique
from tadka.dataset.check.values import InRange, OneOf
from tadka.dataset.define.definition import Dataset
from tadka.dataset.define.label import Label
from tadka.dataset.define.output import Output
from tadka.dataset.define.schema import Named, Partition
from tadka.dataset.define.split import by_hash, by_time
from tadka.dataset.define.table import RESERVED, Table
from tadka.dataset.document import digest_of, from_yaml, merge, to_config, to_yaml
from tadka.dataset.expression.expression import Column, Parameter, Sql, days, hours, if_else
from tadka.dataset.expression.kind import Utc
from tadka.dataset.script import to_python
from tadka.dataset.source.kafka import Kafka
from tests.unit.dataset import public

TEXTS = [
    "no",
    "on",
    "1e3",
    "null",
    "~",
    "",
    "é'\"\\\n{}[]: #",
    "日本語",
    "\U0001f336",
    "2026-01-01",
]


class Shown(Table, source="log/shown/dt={dt}/*.parquet", time="at"):
    dt: Partition[dt.date]
    user: Column[int]
    ad: Column[np.int32]
    price: Column[float | None]
    place: Column[str | None]
    words: Column[list[str]]
    from_: Column[str] = Named("from")
    odd: Column[int] = Named("no such `name`")
    at: Column[Utc]


class Click(Table, source="log/click/dt={dt}/*.parquet", time="at"):
    dt: Partition[dt.date]
    user: Column[int]
    ad: Column[np.int32]
    cost: Column[float]
    at: Column[Utc]


class Person(Table, source="person.parquet", time="since"):
    user: Column[int]
    age: Column[np.int8 | None]
    since: Column[Utc]


class Ad(Table, source="ads.csv"):
    id: Column[np.int32]
    kind: Column[str]


def custom_check(output: CheckedOutput) -> str | None:
    del output
    return None


@dataclass(frozen=True)
class OwnCheck(Check):
    least: int


class Train(Dataset):
    """Clicks, with "quotes", back\\slashes and 日本語."""

    start = Parameter(dt.date)
    end = Parameter(dt.date, default=dt.date(2026, 2, 1))
    read_at = Parameter(Utc)
    least = Parameter(float, default=5.0)
    place = Parameter(str, default="no")

    shown = Shown.between(start, end).where(
        ((Shown.price > least) | ~Shown.user.is_not_null() & (Shown.ad != 3))
        & (Shown.place.is_in(TEXTS) | (Shown.place == place))
        & (Shown.columns["from"].starts_with("x'") | Shown.odd.is_null())
        & (Shown.at < dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC))
        & (Shown.price.to(int) % 7 - 3 < -2)
    )
    person = Person.as_of(on="user", at=start - days(1))
    ad = Ad.join(on={"id": shown.ad}, how="inner", max_matches=1.5)
    recent = Click.between(start - days(8), end).last(days(7), on="user", gap=hours(6))
    clicked = Click.between(start, end + days(3)).next(hours(36), on=["user", "ad"], gap=hours(1))

    rows = shown
    features = {
        "user": shown.user,
        "no": if_else(shown.price.coalesce(0.0) >= 1e3, person.age.coalesce(-1), 0),
        "1e3": shown.at.in_zone("Asia/Tokyo").date() + days(1),
        "hour 時": (shown.at + hours(1.5)).in_zone("UTC").hour(),
        "kind": ad.kind,
        "words": shown.words,
        "recent": recent.count(),
        "cost": (recent.cost * 2).sum(nan="drop") / 3,
        "ads": recent.ad.count_distinct(),
        "raw": Sql(int, duckdb="length(shown.place)", spark="char_length(shown.place)"),
        "odd": shown.odd,
    }
    label = Label(clicked.count() > 0, name="on", matured_by=read_at)
    split = by_hash(shown.user, train=0.7, valid=0.2, test=0.1, salt="null")
    checks = [
        RowCount(min=10, max_drop=0.5, on_fail="warn"),
        Unique("user", "1e3"),
        InRange("no", min=-1, max=120),
        OneOf("kind", values=["no", "1e3", "日本語"]),
        Matched("ad", min_share=0.9),
        Fresh("Shown", max_age=days(2)),
    ]
    output = Output(target_file_bytes="16MiB", partition_by=["split"])


class ByTime(Dataset):
    end = Parameter(dt.datetime, default=dt.datetime.fromisoformat("2026-01-31T23:59:59.999999"))

    click = Click.where(Click.user > 0)
    features = {"user": click.user}
    split = by_time(click.at.in_zone("UTC"), train=end, test=None)
    checks = [Custom(custom_check)]


@pytest.mark.parametrize("dataset", [Train, ByTime])
def test_yaml_and_back_is_the_same_definition(dataset: type[Dataset], tmp_path: Path) -> None:
    file = tmp_path / "definition.yaml"
    text = to_yaml(dataset.definition)
    file.write_text(text, encoding="utf-8")

    back = from_yaml(file)

    assert text == to_yaml(back.definition)
    assert digest_of(dataset.definition) == digest_of(back.definition)
    assert dataset.definition.doc == back.definition.doc
    assert dataset.definition.columns == back.definition.columns


def test_python_and_back_is_the_same_definition() -> None:
    space: dict[str, Any] = {"__name__": "written"}
    config = {**to_config(Train.definition), "name": "Again"}

    text = to_python(from_yaml(config).definition)
    text = text.replace("from tadka.dataset import", "from tests.unit.dataset.public import")
    exec(compile(text, "written.py", "exec"), space)

    assert config == to_config(space["Again"].definition)


def test_the_docstring_is_no_part_of_the_digest_and_all_else_is() -> None:
    config = to_config(ByTime.definition)
    same = from_yaml({**config, "doc": "Other words."})
    other = from_yaml({**config, "features": {"person": "click.user"}})

    assert digest_of(ByTime.definition) == digest_of(same.definition)
    assert digest_of(ByTime.definition) != digest_of(other.definition)


@given(st.lists(st.text(), min_size=1), st.text())
def test_any_text_survives(values: list[str], prefix: str) -> None:
    condition = Click.where(Click.user > 0).table and Ad.kind.is_in(values) | Ad.kind.starts_with(
        prefix
    )
    config = to_config(ByTime.definition)
    config["relations"]["ad"] = {
        "table": "Ad",
        "where": str(condition),
        "found": "join",
        "on": {"id": "click.ad"},
    }
    config["tables"]["Ad"] = to_config(Train.definition)["tables"]["Ad"]

    made = from_yaml(config)

    text = to_yaml(made.definition)
    assert str(condition) == str(made.definition.relations["ad"].condition)
    assert text == to_yaml(from_yaml(read_yaml(text)).definition)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tadka_dataset": 2}, "format 2"),
        ({"sorce": 1}, "'sorce' is unknown"),
        ({"rows": "clik"}, "Did you mean 'click'"),
        ({"features": {"user": "click.usr"}}, "features.user.*Did you mean 'user'"),
        ({"features": {"user": "clik.user"}}, "features.user"),
        ({"features": {"user": "__import__('os').system('true')"}}, "features.user"),
        ({"features": {"user": "click.user.__class__"}}, "features.user"),
        ({"features": {"user": "(lambda: 1)()"}}, "features.user"),
        ({"features": {"user": "click.user if True else 1"}}, "features.user"),
        ({"features": {"user": "1 < click.user < 3"}}, "features.user"),
        ({"features": {"user": "click.user +"}}, "features.user.*no expression"),
        ({"features": {"user": "5"}}, "features.user.*constant"),
        ({"checks": [{"check": "RowCont"}]}, r"checks\[0\].*RowCount"),
        ({"output": {"target_file_byte": 1}}, "output.target_file_byte.*target_file_bytes"),
        ({"output": {"target_file_bytes": 1}}, "target_file_bytes"),
        ({"parameters": {"end": {"type": "datum"}}}, "parameters.end.type.*'datum'"),
        ({"parameters": {"end": {"type": "time", "default": "soon"}}}, "parameters.end.default"),
        ({"split": {"by": "hash", "key": "click.user"}}, "salt"),
        ({"relations": {"click": {"table": "Clik"}}}, "Did you mean 'Click'"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        from_yaml({**to_config(ByTime.definition), **change})


def test_a_file_that_is_missing_or_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"gone\.yaml"):
        from_yaml(tmp_path / "gone.yaml")
    (tmp_path / "bad.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        from_yaml(tmp_path / "bad.yaml")


def test_yaml_of_paths_and_parameters_is_merged_over_a_definition() -> None:
    merged = merge(
        Train,
        {
            "tables": {
                "Shown": {"source": "/other/{dt}/*.parquet"},
                "Ad": {"source": {"kind": "kafka", "servers": "b:9092", "topic": "ads"}},
            },
            "parameters": {"start": "2026-01-01", "least": 6},
        },
    )

    assert issubclass(merged, Dataset)
    relations, parameters = merged.definition.relations, merged.definition.parameters
    assert "/other/{dt}/*.parquet" == relations["shown"].table.source.to_config()
    assert isinstance(relations["ad"].table.source, Kafka)
    assert dt.date(2026, 1, 1) == getattr(parameters["start"].default, "value", None)
    assert 6.0 == getattr(parameters["least"].default, "value", None)
    assert Train.definition.checks == merged.definition.checks
    assert None is Train.definition.parameters["start"].default


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"tables": {"Show": {"source": "x"}}}, "tables.Show is unknown. Did you mean 'Shown'"),
        ({"parameters": {"strat": "2026-01-01"}}, "parameters.strat is unknown.*'start'"),
        ({"parameters": {"start": "soon"}}, "parameters.start"),
        ({"features": {}}, "'features' is unknown"),
        ({"tables": {"Ad": {"sorce": "x"}}}, "sorce"),
    ],
)
def test_overrides_that_do_not_fit(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        merge(Train, overrides)


def test_rows_may_be_called_as_a_column_is() -> None:
    class Named(Dataset):
        click = Click.all()
        user = Person.as_of(on="user")
        ad = Click.where(Click.ad.is_in([1, 2]) & (Click.user > 3)).last(days(1), on="user")
        features = {"age": user.age, "ads": ad.count()}

    config = to_config(Named.definition)

    assert config == to_config(from_yaml(config).definition)


def test_days_in_checks_and_empty_defaults_come_back() -> None:
    class Kept(Dataset):
        name = Parameter(str, default="")
        click = Click.where(Click.cost > 0)
        features = {"user": click.user, "day": click.dt}
        checks = [InRange("day", min=dt.date(2026, 1, 1)), OneOf("day", [dt.date(2026, 1, 2)])]

    text = to_yaml(Kept.definition)
    back = from_yaml(read_yaml(text))

    assert digest_of(Kept.definition) == digest_of(back.definition)
    assert "" == getattr(back.definition.parameters["name"].default, "value", None)


def written(definition: Any) -> dict[str, Any]:
    """What the Python of a definition defines when it runs."""
    text = to_python(definition)
    text = text.replace("from tadka.dataset import", "from tests.unit.dataset.public import")
    space: dict[str, Any] = {"__name__": "written"}
    exec(compile(text, "written.py", "exec"), space)
    return space


# names that attributes of tables, rows and expressions have, and those of texts and of Python
TAKEN = sorted({*RESERVED, *dir(Column), *keyword.kwlist, *dir(public), "parameters", "utc"})


@pytest.mark.parametrize("name", TAKEN)
def test_a_column_may_be_called_as_anything_else_is(name: str) -> None:
    body = {"__annotations__": {"odd": Column[int], "at": Column[Utc]}, "odd": Named(name)}
    options = {"source": "odd.parquet", "time": "at"}
    odd: Any = types.new_class("OddTable", (Table,), options, lambda space: space.update(body))
    column = odd.columns[name]
    least = Parameter(int)
    imp = odd.where((column > least) & ~column.is_null() | column.is_in([1, 2]))
    recent = odd.last(days(1), on={name: imp[name] + 1})
    made = {
        "least": least,
        "imp": imp,
        "rows": imp,
        "recent": recent,
        "features": {
            name: imp[name],
            "n": recent.count(),
            "sum": recent[name].sum() + imp[name].coalesce(0),
        },
        "split": by_hash(imp[name], salt="", train=1.0),
    }
    definition = type("Odd", (Dataset,), made).definition  # type: ignore[attr-defined]

    assert to_config(definition) == to_config(from_yaml(to_config(definition)).definition)
    assert to_config(definition) == to_config(written(definition)["Odd"].definition)


@pytest.mark.parametrize("name", ["days", "Shown", "Column"])
def test_python_in_which_one_name_would_hide_another_is_refused(name: str) -> None:
    shown = Shown.all()
    again = Shown.last(days(1), on="user")
    made = {
        "imp": shown,
        name: again,
        "rows": shown,
        "features": {"n": again.count(), "next": shown.at + days(1)},
    }
    definition = type("Hidden", (Dataset,), made).definition  # type: ignore[attr-defined]

    with pytest.raises(ConfigError, match=f"'{name}' is a name that the module has for something"):
        to_python(definition)


def test_checks_of_ones_own_are_python_already() -> None:
    with pytest.raises(ConfigError, match="custom_check' is Python of its own module"):
        to_python(ByTime.definition)
    config = to_config(ByTime.definition)
    config["checks"] = [{"check": f"{__name__}:OwnCheck", "least": 3}]
    definition = from_yaml(config).definition
    assert config == to_config(definition)
    assert (OwnCheck(3),) == definition.checks
    with pytest.raises(ConfigError, match="OwnCheck' is Python of its own module"):
        to_python(definition)


@pytest.mark.parametrize("doc", ['Says "hi"', "Back\\slash", 'Three """ of them', "two\n\nlines"])
def test_any_docstring_can_be_written_as_python(doc: str) -> None:
    text = to_python(
        from_yaml({**to_config(ByTime.definition), "doc": doc, "checks": []}).definition
    )
    text = text.replace("from tadka.dataset import", "from tests.unit.dataset.public import")
    space: dict[str, Any] = {"__name__": "written"}

    exec(compile(text, "written.py", "exec"), space)

    assert doc == space["ByTime"].definition.doc
