import json
from dataclasses import replace
from typing import Any

import pytest

from tadka.core.error import ConfigError, DataError
from tadka.features import Buckets, Definition, Feature, Field, Hashed, Log, Span, Vocabulary
from tests.unit.features.rows import Everything

DEFINITION = Definition(
    "Row",
    1,
    10,
    (Field("a", "str", 1), Field("b", "int", 2, is_optional=True)),
    (
        Feature("a", Hashed()),
        Feature("b", Vocabulary(["x", "y"])),
        Feature("c", Hashed(3), "return 1"),
        Feature("d", Hashed(), "return 2"),
    ),
)


def test_the_shared_table_comes_first_then_each_feature_s_own_slots() -> None:
    assert (Span(0, 10), Span(10, 4), Span(14, 3), Span(0, 10)) == DEFINITION.spans
    assert (17, 4) == (DEFINITION.num_slots, DEFINITION.num_features)
    assert (Span(0, 4), Span(4, 3)) == DEFINITION.only(["c", "b"]).spans
    assert 0 == DEFINITION.only([]).num_slots


def test_a_definition_survives_json_with_its_hash() -> None:
    for definition in (DEFINITION, Everything.definition()):
        copy = Definition.from_dict(json.loads(json.dumps(definition.to_dict())))

        assert definition == copy
        assert definition.hash == copy.hash


def test_an_unknown_feature_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'Row' has no feature 'z'; it has: \['a', 'b'"):
        DEFINITION.only(["z"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2; this tadka reads 1"),
        ({"fields": [{"nme": "a"}]}, "is damaged"),
        ({"features": None}, "is damaged"),
        ({"features": [{"name": "a", "encoding": {"kind": "x"}, "body": ""}]}, "is damaged"),
    ],
)
def test_a_damaged_definition_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Definition.from_dict(DEFINITION.to_dict() | change)


def test_differences_are_told_one_by_one() -> None:
    other = replace(
        DEFINITION,
        version=2,
        size=11,
        fields=(Field("a", "str", 3), Field("n", "int", 2)),
        features=(
            Feature("a", Log()),
            Feature("c", Hashed(3), "return 5"),
            Feature("e", Buckets([1.0])),
        ),
    )

    assert [
        "version is 1 here and 2 there",
        "size is 10 here and 11 there",
        "field 'b' is here only",
        "field 'n' is there only",
        "number of field 'a' is 1 here and 3 there",
        "feature 'b' is here only",
        "feature 'd' is here only",
        "feature 'e' is there only",
        "encoding of feature 'a' is Hashed(size=None) here and Log() there",
        "property of feature 'c' is return 1 here and return 5 there",
    ] == DEFINITION.differences(other)
    assert [] == DEFINITION.differences(DEFINITION)
    turned = replace(DEFINITION, features=DEFINITION.features[::-1])
    assert ["the order of the fields or features differs"] == DEFINITION.differences(turned)


def test_a_field_is_told_as_its_annotation() -> None:
    assert ["str", "int | None", "list[bool]"] == [
        str(Field("a", "str", 1)),
        str(Field("a", "int", 1, is_optional=True)),
        str(Field("a", "bool", 1, is_list=True)),
    ]
