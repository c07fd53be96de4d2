import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from tadka.core.config import dump_config, load_config
from tadka.core.document import read_yaml
from tadka.core.error import ConfigError, NotFound
from tadka.core.resource import Resources


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    num_credits: Annotated[int, Field(ge=1, le=64)] = 4
    idle_timeout_s: float = 30.0


@dataclass
class Plan:
    name: str
    transfer: Transfer = field(default_factory=Transfer)
    resources: Resources = field(default_factory=Resources)
    layers: list[int] = field(default_factory=list)
    stages: dict[str, Transfer] = field(default_factory=dict)
    several: list[Transfer] = field(default_factory=list)
    pair: tuple[int, Transfer] | None = None
    colour: Colour = Colour.RED
    day: dt.date | None = None
    where: Path = Path("runs")
    mode: Literal["fast", "safe"] = "fast"
    either: Annotated[Transfer, "doc"] | int = 3
    loose: dict[str, Transfer] | list[Transfer] | Any = None
    names: dict[int, str] = field(default_factory=dict)
    rate: float = 0.1
    is_on: bool = False
    anything: Any = None


FULL = """
name: "1e-3"
transfer: {num_credits: 7}
resources: {cpu: 0.5, memory: 1.5G}
layers: [64, 32]
stages:
  first: {idle_timeout_s: 1}
several: [{num_credits: 2}]
pair: [1, {num_credits: 3}]
colour: blue
day: 2026-11-01
where: a/b
mode: safe
either: {num_credits: 5}
names: {3: three}
rate: 1e-3
is_on: true
anything: {free: [form]}
"""


def test_every_kind_of_field_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(FULL)

    assert Plan(
        name="1e-3",
        transfer=Transfer(num_credits=7),
        resources=Resources(cpu=0.5, memory="1.5G"),
        layers=[64, 32],
        stages={"first": Transfer(idle_timeout_s=1.0)},
        several=[Transfer(num_credits=2)],
        pair=(1, Transfer(num_credits=3)),
        colour=Colour.BLUE,
        day=dt.date(2026, 11, 1),
        where=Path("a/b"),
        mode="safe",
        either=Transfer(num_credits=5),
        names={3: "three"},
        rate=0.001,
        is_on=True,
        anything={"free": ["form"]},
    ) == load_config(Plan, tmp_path / "plan.yaml")


def test_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"name": "a", "rate": 1e-3}')

    assert 0.001 == load_config(Plan, str(tmp_path / "plan.json")).rate


def test_what_is_dumped_loads_as_an_equal_object() -> None:
    plan = load_config(Plan, read_yaml(FULL))

    assert plan == load_config(Plan, read_yaml(dump_config(plan)))
    assert Plan("a", rate=float("inf")) == load_config(
        Plan, read_yaml(dump_config(Plan("a", rate=float("inf"))))
    )


def test_dump_keeps_the_order_of_fields() -> None:
    assert "num_credits: 4\nidle_timeout_s: 30.0\n" == dump_config(Transfer())


def test_empty_file_means_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")

    assert Transfer() == load_config(Transfer, tmp_path / "empty.yaml")


def test_python_values_in_a_mapping_are_accepted() -> None:
    source = {"name": "a", "where": Path("x"), "day": dt.date(2026, 1, 2), "layers": (1, 2)}

    plan = load_config(Plan, source)

    assert (Path("x"), dt.date(2026, 1, 2), [1, 2]) == (plan.where, plan.day, plan.layers)


def test_member_of_a_union_that_takes_anything_takes_unknown_keys() -> None:
    assert {"any": {"zzz": 1}} == load_config(
        Plan, {"name": "a", "loose": {"any": {"zzz": 1}}}
    ).loose
    assert [{"zzz": 1}] == load_config(Plan, {"name": "a", "loose": [{"zzz": 1}]}).loose


def test_overrides_win_and_leave_the_source_alone() -> None:
    source: dict[str, Any] = {"name": "a", "layers": [1, 2], "stages": {"s": {}}, "transfer": None}

    plan = load_config(
        Plan,
        source,
        ["transfer.num_credits=9", "layers.1=7", "stages.s.idle_timeout_s=2", "name='5'", "day="],
    )

    assert Transfer(num_credits=9) == plan.transfer
    assert [1, 7] == plan.layers
    assert 2.0 == plan.stages["s"].idle_timeout_s
    assert "5" == plan.name
    assert plan.day is None
    assert {"name": "a", "layers": [1, 2], "stages": {"s": {}}, "transfer": None} == source


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rate", "Override 'rate' is not understood; write it as 'path.of.key=value'."),
        ("=1", "is not understood"),
        ("a..b=1", "is not understood"),
        ("rate=[", "Override 'rate=[' has a value that is not YAML."),
        ("layers.2=1", "'2' is no index of 'layers', which has 2 items, from 0."),
        ("layers.x=1", "'x' is no index of 'layers'"),
        ("name.x=1", "'name' is 'a', which has no keys."),
        ("rat=1", "key 'rat' is unknown. Did you mean 'rate'?"),
    ],
)
def test_wrong_override_says_why(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Plan, {"name": "a", "layers": [1, 2]}, [override])

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "key 'name' is missing; it has no default."),
        ({"name": "a", "rat": 1}, "key 'rat' is unknown. Did you mean 'rate'?"),
        (
            {"name": "a", "transfer": {"zzz": 1}},
            "key 'transfer.zzz' is unknown. Known keys: num_credits, idle_timeout_s.",
        ),
        ({"name": "a", "stages": {"s": {"num_credit": 1}}}, "'stages.s.num_credit' is unknown"),
        ({"name": "a", "several": [{}, {"zzz": 1}]}, "'several.1.zzz' is unknown"),
        ({"name": "a", "pair": [1, {"zzz": 1}]}, "'pair.1.zzz' is unknown"),
        ({"name": "a", "either": {"num_credit": 1}}, "'either.num_credit' is unknown"),
        ({"name": "a", "stages": {"s": {"num_credits": 0}}}, "'stages.s.num_credits' is 0"),
        ({"name": "a", 3: 1}, "key '3' is unknown"),
        ({"name": 5}, "key 'name' is 5; it must be text (in quotes, where YAML reads a number)."),
        ({"name": "a", "rate": "1"}, "key 'rate' is '1'; it must be a number."),
        ({"name": "a", "layers": [1, True]}, "key 'layers.1' is True; it must be a whole number."),
        ({"name": "a", "layers": 1}, "key 'layers' is 1; it must be a list."),
        ({"name": "a", "is_on": 1}, "key 'is_on' is 1; it must be true or false."),
        ({"name": "a", "mode": "slow"}, "key 'mode' is 'slow'; it must be 'fast' or 'safe'."),
        ({"name": "a", "colour": "green"}, "it must be 'red' or 'blue'."),
        ({"name": "a", "transfer": 5}, "key 'transfer' is 5; it must be a mapping."),
        (
            {"name": "a", "transfer": {"num_credits": 0}},
            "key 'transfer.num_credits' is 0; it must be at least 1.",
        ),
        ({"name": "a", "transfer": {"num_credits": 65}}, "it must be at most 64."),
        (
            {"name": "a", "either": "x"},
            "key 'either' is 'x'; it must be a mapping, or it must be a whole number.",
        ),
        (
            {"name": "a", "either": {"num_credits": "0"}},
            "Configuration: key 'either.num_credits' is '0'; it must be a whole number.",
        ),
        ({"name": "a", "day": "yesterday"}, "key 'day' is 'yesterday'; it must be a valid date"),
        ({"name": "a", "names": {"x": "y"}}, "key 'names.x' is 'x'; it must be a valid integer"),
        (
            {"name": "a", "resources": {"memory": "5X"}},
            "key 'resources': Resources field 'memory' is '5X'; it must be a number of bytes",
        ),
        ({"name": object()}, "it holds a value that configuration cannot: Unable to serialize"),
    ],
)
def test_wrong_key_or_value_is_named_with_its_full_path(
    source: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Plan, source)

    assert message in str(caught.value)


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Plan, {"name": 1, "rate": "x"})

    assert "Configuration has 2 mistakes:\n  key 'name' is 1; " in str(caught.value)
    assert "\n  key 'rate' is 'x'; " in str(caught.value)


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.yaml' does not exist"):
        load_config(Plan, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "is not YAML: while parsing"),
        (b"a: 1\na: 2", "key 'a' stands twice"),
        (b"\xff\xfe\xff", "is not YAML: 'utf-8' codec"),
        (b"- 1", "is a list; it must be a mapping of keys to values."),
    ],
)
def test_damaged_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load_config(Plan, path)

    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(Plan, tmp_path)


def test_only_a_dataclass_with_plain_values_is_dumped() -> None:
    with pytest.raises(ConfigError, match="A 'dict' is no configuration"):
        dump_config({})
    with pytest.raises(ConfigError, match="A 'Plan' cannot be written as YAML"):
        dump_config(Plan("a", anything=object()))
