import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tadka.features.hash as plain
import tadka.features.native as compiled
from tadka.core.error import ConfigError, DataError
from tadka.features.wire import BYTES, FIXED32, FIXED64, VARINT
from tadka.serve.store.state import (
    NUM_BUCKETS,
    State,
    Traffic,
    bucket_of,
    check_name,
    check_shadow,
    check_split,
    key_bytes,
    model_seed,
    parse_split,
    thresholds_of,
)
from tests.unit.serve.sample import Visit

STATE = State(
    12,
    {
        "ctr": Traffic(
            {"production": 3, "candidate": 4},
            {"production": 90.0, "candidate": 10.0},
            "user",
            ("candidate",),
            {"production": 2},
            {"production": 1_700_000_000, "candidate": 1_700_000_001},
            4,
        ),
        "cvr": Traffic({"production": 1}, {"production": 100.0}, last=1),
    },
)


def test_a_state_is_the_same_after_its_json() -> None:
    assert STATE == State.from_json(STATE.to_json(), "state.json")


def test_the_format_of_the_first_version_is_read() -> None:
    text = (
        '{"format":1,"generation":12,"models":{"ctr":{"aliases":{"production":3,"candidate":4},'
        '"split":{"production":100.0},"key":null,"shadow":[],"previous":{"production":2}}}}'
    )

    state = State.from_json(text, "state.json")

    assert 12 == state.generation
    assert 4 == state.models["ctr"].last


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["format"], 2, "format 2"),
        (["generation"], -1, "'generation', is -1"),
        (["generation"], True, "'generation', is True"),
        (["models"], [], "'models', is"),
        (["models", "ctr"], 5, "model 'ctr' is 5"),
        (["models", "ctr", "aliases"], None, "'ctr', key 'aliases'"),
        (["models", "ctr", "aliases"], {}, "key 'aliases', is empty"),
        (["models", "ctr", "aliases"], {"production": "3"}, "key 'aliases'"),
        (["models", "ctr", "split"], {"production": 90}, "sums to 90"),
        (["models", "ctr", "split"], None, "names no alias"),
        (["models", "ctr", "key"], 3, "key 'key', is 3"),
        (["models", "ctr", "shadow"], "x", "key 'shadow'"),
        (["models", "ctr", "shadow"], ["x"], "Alias 'x' has no version"),
        (["models", "ctr", "previous"], [1], "key 'previous'"),
        (["models", "ctr", "last"], "4", "key 'last'"),
    ],
)
def test_a_damaged_state_names_file_and_key(path: list[str], value: object, words: str) -> None:
    data = json.loads(STATE.to_json())
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    with pytest.raises(DataError, match=r"'a/state\.json'") as caught:
        State.from_json(json.dumps(data), "a/state.json")

    assert words in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"3", b"[]"])
def test_a_state_that_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(DataError, match=r"state\.json"):
        State.from_json(text, "state.json")


@given(st.binary(max_size=60))
def test_no_bytes_but_a_state_make_a_state(text: bytes) -> None:
    with pytest.raises(DataError):
        State.from_json(text, "state.json")


@pytest.mark.parametrize("name", ["ctr", "a", "a-b_c9", "x" * 48])
def test_names_are_taken(name: str) -> None:
    assert name == check_name("Model", name)


@pytest.mark.parametrize("name", ["", "Ctr", "9a", "a b", "a/b", "..", "x" * 49, "ctr\n", "é"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        check_name("Model", name)


def test_the_stores_own_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="'log' is a name that the store uses"):
        check_name("Model", "log")


def test_a_split_is_read_in_its_order() -> None:
    split = parse_split(" candidate=10%, production = 90 ")

    assert [("candidate", 10.0), ("production", 90.0)] == list(split.items())


@pytest.mark.parametrize("text", ["", "production", "production=", "=3", "a=1,", "a=x", "a=1;b=2"])
def test_a_split_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="ALIAS=PERCENT"):
        parse_split(text)


def test_a_split_names_no_alias_twice() -> None:
    with pytest.raises(ConfigError, match="'a' twice"):
        parse_split("a=50,a=50")


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({}, "names no alias"),
        ({"a": 50.0, "b": 49.99}, "a=50, b=49.99 sums to 99.99; it must sum to 100"),
        ({"a": 150.0, "b": -50.0}, "'b' -50.0 percent"),
        ({"a": float("nan"), "b": 100.0}, "'a' nan percent"),
        ({"a": True, "b": 99.0}, "'a' True percent"),
        ({"a": 33.333, "b": 66.667}, "two decimals"),
        ({"a": 50.0, "bb": 50.0}, "Alias 'bb' has no version. Did you mean 'b'?"),
    ],
)
def test_a_split_that_cannot_be_served_is_refused(split: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_split(split, ["a", "b"])

    assert words in str(caught.value)


def test_a_split_of_hundredths_sums_exactly() -> None:
    split = check_split({"a": 33.33, "b": 33.33, "c": 33.34}, "abc")

    assert (3333, 6666, 10_000) == thresholds_of(split)


def test_an_arm_of_no_percent_gets_no_bucket() -> None:
    assert (0, 10_000) == thresholds_of(check_split({"a": 0, "b": 100}, "ab"))


def test_a_shadow_must_be_known_and_named_once() -> None:
    assert () == check_shadow([], ["a"])
    with pytest.raises(ConfigError, match="'b' has no version"):
        check_shadow(["b"], ["a"])
    with pytest.raises(ConfigError, match="'a' twice"):
        check_shadow(["a", "a"], ["a"])


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_the_compiled_hash_is_the_python_one(data: bytes, seed: int) -> None:
    assert plain.hash_text(data, seed) == compiled.hash_text(data, seed)


def test_buckets_are_within_bounds_and_even() -> None:
    counts = [0] * 10
    seed = model_seed("ctr")
    for number in range(10_000):
        bucket = bucket_of(b"user-%d" % number, seed)
        assert 0 <= bucket < NUM_BUCKETS
        counts[bucket * 10 // NUM_BUCKETS] += 1

    # of a binomial with n = 10,000 and p = 0.1 five standard deviations are 150
    assert all(850 < count < 1150 for count in counts)


def test_more_versions_than_a_server_counts_apart_are_refused() -> None:
    aliases = {"production": 1, "candidate": 2}
    traffic = Traffic(aliases, {"production": 100.0}, shadow=("candidate",), last=2)
    models = {f"m{number}": traffic for number in range(16)}
    text = State(1, models).to_json()

    with pytest.raises(ConfigError, match=r"34 versions of 17 models .* at most 32"):
        State(1, {**models, "more": traffic})
    with pytest.raises(DataError, match="File 'f': 34 versions"):
        State.from_json(
            text.replace('"m0": {', f'"more": {json.dumps(traffic.to_dict())}, "m0": {{'), "f"
        )


def test_models_split_independently() -> None:
    first, second = model_seed("ctr"), model_seed("cvr")
    both = sum(
        bucket_of(b"%d" % n, first) < 5000 and bucket_of(b"%d" % n, second) < 5000
        for n in range(10_000)
    )

    assert 2280 < both < 2720


def tag(number: int, kind: int) -> bytes:
    return bytes([number << 3 | kind])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", b""),
        (tag(1, BYTES) + b"\x02ab", b"ab"),
        (tag(1, BYTES) + b"\x02ab" + tag(2, VARINT) + b"\x05", b"ab"),
        (tag(1, BYTES) + b"\x02ab" + tag(1, BYTES) + b"\x01c", b"c"),
        (tag(1, BYTES) + b"\x00", b""),
        (tag(1, VARINT) + b"\x96\x01", b"\x96\x01"),
        (tag(1, VARINT) + b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x01"),
        (tag(1, FIXED64) + b"12345678", b"12345678"),
        (tag(1, FIXED32) + b"1234" + tag(2, BYTES) + b"\x00", b"1234"),
        # inside a group it is another message's field
        (b"\x1b" + tag(1, BYTES) + b"\x01x" + b"\x1c", b""),
        (tag(1, BYTES) + b"\x01a" + b"\x1b\x23\x24\x1c", b"a"),
    ],
)
def test_the_key_is_the_last_occurrence_of_its_field(message: bytes, expected: bytes) -> None:
    assert expected == key_bytes(message, 1)


@pytest.mark.parametrize(
    "rest",
    [
        b"\x0a\x05ab",  # ends inside
        b"\x0a",
        b"\x09123",
        b"\x0d123",
        b"\x08\xff",
        b"\x08" + b"\xff" * 10 + b"\x01",  # 11 bytes
        b"\x00\x00",  # field 0
        b"\x0f",  # a wire type that does not exist
        b"\x1b",  # a group without end
        b"\x1c",
        b"\x1b\x24",
        b"\xff\xff\xff\xff\xff\x01\x00",  # a tag of 6 bytes
        b"\xff\xff\xff\xff\x7f\x00",  # beyond 32 bits
        b"\x1b" * 65 + b"\x1c" * 65,
        b"\x0a\xff\xff\xff\xff\xff\x01",
    ],
)
def test_a_malformed_message_has_the_empty_key(rest: bytes) -> None:
    assert b"" == key_bytes(tag(1, BYTES) + b"\x02ab" + rest, 1)


@given(st.binary(max_size=60), st.integers(1, 6))
def test_a_key_is_taken_of_any_bytes(message: bytes, number: int) -> None:
    assert isinstance(key_bytes(message, number), bytes)


def test_keys_of_real_messages_are_their_fields() -> None:
    numbers = {field.name: field.number for field in Visit.definition().fields}
    random.seed(1)
    for _ in range(100):
        user = "".join(random.choices("abcé", k=random.randrange(200)))
        message = Visit(user, 300, 1.5, True, ["t"]).to_message()
        assert user.encode() == key_bytes(message, numbers["user"])
        assert b"\xac\x02" == key_bytes(message, numbers["shop"])
        assert b"\x01" == key_bytes(message, numbers["is_new"])
        assert 8 == len(key_bytes(message, numbers["price"]))
