"""Topics of librdkafka's mock cluster."""

import dataclasses
import datetime as dt
import json
import traceback
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from confluent_kafka import KafkaError, Producer

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import INT, STRING, TIME
from tadka.dataset.source import kafka
from tadka.dataset.source.kafka import Kafka
from tadka.dataset.source.listing import InputFile, Listing

COLUMNS: dict[str, Column[Any]] = {"user": Column("user", INT), "name": Column("name", STRING)}


@pytest.fixture(scope="module")
def producer() -> Iterator[Any]:
    made = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
    yield made
    made.flush(10)


@pytest.fixture(scope="module")
def servers(producer: Any) -> str:
    brokers = producer.list_topics(timeout=10).brokers.values()
    return ",".join(f"{broker.host}:{broker.port}" for broker in brokers)


def send(producer: Any, topic: str, partition: int, *values: bytes | None) -> None:
    for value in values:
        producer.produce(topic, value, partition=partition)
    producer.flush(10)


def message(user: int) -> bytes:
    return json.dumps({"user": user, "name": f"n{user}"}).encode()


@pytest.fixture(scope="module")
def clicks(producer: Any) -> str:
    """Users 0 to 9 in partition 0, 10 to 14 in partition 1, none in the others."""
    send(producer, "clicks", 0, *map(message, range(10)))
    send(producer, "clicks", 1, *map(message, range(10, 15)))
    return "clicks"


def users(source: Kafka, listing: Listing) -> list[int]:
    batches = (b for file in listing.files for b in source.batches(file, COLUMNS))
    return [user for batch in batches for user in batch["user"].to_pylist()]


def test_all_messages_that_are_there(servers: str, clicks: str, tmp_path: Path) -> None:
    source = Kafka(servers, clicks)
    listing = source.resolve(COLUMNS)
    assert listing.snapshot is not None
    assert listing.snapshot.startswith("0:0-10,1:0-5,2:0-0")
    assert ["0-10", "0-5"] == [file.modified for file in listing.files]
    assert users(source, listing) == list(range(15))
    staged = source.stage(listing, COLUMNS, tmp_path).files
    assert ["n10", "n11", "n12", "n13", "n14"] == pq.read_table(staged[1].uri)["name"].to_pylist()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (3, None, [3, 4, 5, 6, 7, 8, 9, 13, 14]),
        ({0: 8, 1: 5}, None, [8, 9]),
        ({1: 5}, {0: 2}, [0, 1]),
        ({0: 2, 1: 1}, {0: 5, 1: 1}, [2, 3, 4]),
        ({"0": 9, "1": 4}, None, [9, 14]),
    ],
)
def test_messages_between_offsets(
    servers: str, clicks: str, start: Any, end: Any, expected: list[int]
) -> None:
    source = Kafka(servers, clicks, start=start, end=end)
    assert users(source, source.resolve(COLUMNS)) == expected


def test_a_range_stays_what_it_was(servers: str, producer: Any) -> None:
    send(producer, "grows", 0, message(1))
    source = Kafka(servers, "grows")
    before = source.resolve(COLUMNS)
    send(producer, "grows", 0, message(2))
    assert users(source, before) == [1]
    assert users(source, source.resolve(COLUMNS)) == [1, 2]


def test_tombstones_are_no_rows(servers: str, producer: Any) -> None:
    send(producer, "tombs", 0, message(1), None, b'{"user":\n2}', None)
    source = Kafka(servers, "tombs")
    assert users(source, source.resolve(COLUMNS)) == [1, 2]


@pytest.mark.parametrize("value", [b'{"user": "x"}', b"", b"{", b"[]", b"null", b"{}{}"])
def test_a_message_that_is_not_as_declared_is_named(
    servers: str, producer: Any, value: bytes, request: pytest.FixtureRequest
) -> None:
    topic = f"bad{abs(hash(value))}"
    send(producer, topic, 2, message(1), message(2), value, message(3))
    source = Kafka(servers, topic)
    listing = source.resolve(COLUMNS)
    with pytest.raises(DataError, match=f"Topic '{topic}', partition 2, offset 2: ."):
        users(source, listing)


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ({"start": 10}, NotFound, "no message between"),
        ({"end": {0: 11}}, DataError, "partition 0 ends before offset 10; 11 is still to come"),
        ({"start": {77: 1}}, ConfigError, "no partition 77"),
    ],
)
def test_bounds_that_cannot_be(
    servers: str, clicks: str, bounds: Any, error: type[Exception], message: str
) -> None:
    if bounds.get("start") == 10:
        bounds = {"start": {0: 10, 1: 5}}
    with pytest.raises(error, match=message):
        Kafka(servers, clicks, **bounds).resolve(COLUMNS)


def test_a_topic_that_is_not_there_is_not_made(servers: str, clicks: str) -> None:
    for _ in range(2):
        with pytest.raises(NotFound, match=r"no topic 'clickz'.*clicks"):
            Kafka(servers, "clickz").resolve(COLUMNS)


def test_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_ANSWER_S", 0.5)
    with pytest.raises(DataError, match=r"'t' at '127.0.0.1:1' cannot be read"):
        Kafka("127.0.0.1:1", "t").resolve(COLUMNS)


def test_messages_that_stay_away(
    servers: str, clicks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "_SILENCE_S", 0.0)
    source = Kafka(servers, clicks)
    (file, *_) = source.resolve(COLUMNS).files
    dead = Kafka("127.0.0.1:1", clicks)
    with pytest.raises(DataError, match="gave nothing for 0 seconds before offset 10"):
        list(dead.batches(file, COLUMNS))


def test_a_partition_that_ends_before_its_end_is_no_whole_range(
    servers: str, clicks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # so it looks while a transaction is open, and after somebody made the topic anew
    monkeypatch.setattr(kafka, "_SILENCE_S", 0.0)
    source = Kafka(servers, clicks)
    (file, *_) = source.resolve(COLUMNS).files
    later = dataclasses.replace(file, uri=file.uri.replace("end=10", "end=12"))
    with pytest.raises(DataError, match="gave nothing for 0 seconds before offset 12"):
        list(source.batches(later, COLUMNS))


class Told:
    """A message, or where a partition ends."""

    def __init__(self, offset: int, value: bytes | None = None, *, is_end: bool = False) -> None:
        self._offset, self._value = offset, value
        self._error = KafkaError(KafkaError._PARTITION_EOF) if is_end else None

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes | None:
        return self._value

    def error(self) -> KafkaError | None:
        return self._error


@pytest.mark.parametrize(
    "last",
    [
        pytest.param([Told(7, message(7))], id="the last message"),
        pytest.param([Told(5, message(5)), Told(9, message(9))], id="compacted"),
        pytest.param([Told(5, message(5)), Told(8, is_end=True)], id="markers until the end"),
        pytest.param([Told(6, is_end=True), Told(11, message(11))], id="an end that moved on"),
    ],
)
def test_reading_ends_where_the_range_does(last: list[Told], monkeypatch: Any) -> None:
    # the mock cluster knows neither transactions nor compaction: a consumer that tells as theirs
    given = [[Told(3, message(3))], last]

    class Consumer:
        def assign(self, _: object) -> None: ...

        def consume(self, *_: object, **__: object) -> list[Told]:
            return given.pop(0)  # asked for more than that, it fails

    monkeypatch.setattr(Kafka, "_consumer", lambda _: nullcontext((Consumer(), [])))
    file = InputFile("kafka://s/t/0?start=3&end=8", {}, 0, "3-8", "kafka")
    found = users(Kafka("s", "t"), Listing([file]))
    assert found == [3, *(told.offset() for told in last if told.value() and told.offset() < 8)]


def test_a_column_is_no_partition_of_a_topic(servers: str) -> None:
    with pytest.raises(ConfigError, match="declared as a partition"):
        Kafka(servers, "t").resolve({"p": Column("p", INT, is_partition=True)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "avro"}, "Format 'avro' of topic 't'"),
        ({"start": -1}, "start=-1"),
        ({"end": True}, "end=True"),
        ({"start": dt.datetime(2026, 1, 1)}, "has no zone"),  # noqa: DTZ001
        ({"start": "soon"}, "no time in ISO form"),
        ({"options": {"sasl.password": "secret"}}, "'sasl.password' of topic 't' holds a password"),
    ],
)
def test_topics_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Kafka("a:1", "t", **given)


def test_an_option_that_librdkafka_does_not_know() -> None:
    with pytest.raises(ConfigError, match=r"no.such"):
        Kafka("a:1", "t", options={"no.such": "1"}).resolve(COLUMNS)


@pytest.mark.parametrize("name", ["security.protocol", "sasl.oauthbearer.method"])
def test_a_secret_in_the_wrong_place_is_not_shown(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADKA_TEST_PASSWORD", "very-secret")
    source = Kafka("a:1", "t", options={name: "$TADKA_TEST_PASSWORD"})
    with pytest.raises(ConfigError, match=r'Invalid value "\$TADKA_TEST_PASSWORD"') as caught:
        source.resolve(COLUMNS)
    assert "very-secret" not in "".join(traceback.format_exception(caught.value))


def test_the_address_of_a_server_of_tokens_is_no_secret() -> None:
    options = {"sasl.oauthbearer.token.endpoint.url": "https://a/token"}
    assert Kafka("a:1", "t", options=options).options == options


def test_times_are_asked_of_the_brokers(servers: str, clicks: str) -> None:
    # the mock cluster knows no times and answers "later than all": an empty range
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(NotFound, match="no message between"):
        Kafka(servers, clicks, start=start).resolve({"t": Column("t", TIME)})
