"""Topics of Kafka between two offsets or two times: a bounded source."""

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.dataset.source.listing import Columns, InputFile, Keep, Listing, Source, schema_of
from tadka.dataset.source.rows import first_bad, json_batch
from tadka.dataset.source.secret import conceal, expand, is_secret, refuse_literal

if TYPE_CHECKING:
    import pyarrow as pa

_ANSWER_S = 10.0  # a broker has to answer a question within
_SILENCE_S = 30.0  # messages may stay away for this long before reading is given up
_MESSAGES_PER_BATCH = 10_000

Bound = int | Mapping[int, int] | dt.datetime | str | None


@dataclass(frozen=True)
class Kafka(Source):
    """Messages of a topic, each a JSON object, from a first to before a last one.

    Args:
        servers: `"host:port"`, several with commas.
        topic: Its name.
        start: The first: an offset for all partitions, offsets by partition, or a time with a
            zone (also as text in ISO form). By default the oldest message that is still there.
        end: The first that is not taken any more; by default whatever comes after the newest.
        format: `"json"`.
        options: Further settings of librdkafka; secrets as `"$NAME"` of an environment variable.

    Raises:
        ConfigError: A bound is of another type, a time has no zone, or a secret is written out.
    """

    servers: str
    topic: str
    start: Bound = None
    end: Bound = None
    format: str = "json"
    options: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.format != "json":
            raise ConfigError(
                f"Format {self.format!r} of topic {self.topic!r}: only 'json' is read."
            )
        object.__setattr__(self, "start", _bound(self.start, "start"))
        object.__setattr__(self, "end", _bound(self.end, "end"))
        for name, value in (self.options or {}).items():
            if is_secret(name):
                refuse_literal(value, f"Option {name!r} of topic {self.topic!r}")

    @property
    def partition_names(self) -> tuple[str, ...] | None:
        """None of them: all columns are in the messages."""
        return ()

    def to_config(self) -> str | dict[str, Any]:
        """Times as text, mappings as plain ones."""
        config = super().to_config()
        assert isinstance(config, dict), "only files are a text"
        for name in ("start", "end"):
            if isinstance(config.get(name), dt.datetime):
                config[name] = config[name].isoformat()
        return config

    def resolve(self, columns: Columns, keep: Keep | None = None) -> Listing:  # noqa: ARG002
        """A piece for each partition of the topic; the snapshot holds all offsets.

        Args:
            columns: Of the table; no partitions.
            keep: Not asked.

        Raises:
            ConfigError: A column is declared as a partition.
            NotFound: There is no such topic, or no message between the bounds.
            DataError: No broker answers, or offsets are gone or still to come.
        """
        for column in columns.values():
            if column.is_partition:
                raise ConfigError(
                    f"Column {column.name!r} of topic {self.topic!r} is declared as a partition; "
                    "what partitions of a topic hold is no column. Declare Column[...]."
                )
        with self._consumer() as (consumer, _):
            ranges = self._ranges(consumer)
        files = [
            InputFile(
                f"kafka://{self.servers}/{self.topic}/{number}?start={start}&end={end}",
                {},
                0,
                f"{start}-{end}",
                "kafka",
            )
            for number, (start, end) in ranges.items()
            if start < end
        ]
        if not files:
            raise NotFound(f"Topic {self.topic!r} has no message between its bounds.")
        snapshot = ",".join(f"{number}:{start}-{end}" for number, (start, end) in ranges.items())
        return Listing(files, snapshot, f"kafka://{self.servers}/{self.topic}")

    def batches(self, file: InputFile, columns: Columns) -> "Iterator[pa.RecordBatch]":
        """The messages of one partition; those without a value (tombstones) are no rows.

        Args:
            file: Of `resolve`.
            columns: Of the table.

        Raises:
            DataError: A message is not as declared (the error names partition and offset), or no
                more come.
        """
        pa = require("pyarrow", extra="dataset")
        schema = schema_of(columns)
        parts = urlsplit(file.uri)
        number = int(parts.path.rpartition("/")[2])
        bounds = parse_qs(parts.query)
        start, end = int(bounds["start"][0]), int(bounds["end"][0])
        for messages in self._messages(number, start, end):
            lines = [value.replace(b"\n", b" ") or b"null" for _, value in messages]
            if not lines:  # who waits with us may turn away
                yield pa.RecordBatch.from_pylist([], schema)
                continue
            try:
                yield json_batch(b"\n".join(lines), schema)
            except ValueError as error:
                index, reason = first_bad(lines, schema) or (0, str(error))
                raise DataError(
                    f"Topic {self.topic!r}, partition {number}, offset {messages[index][0]}: "
                    f"{reason}."
                ) from error

    def _messages(self, number: int, start: int, end: int) -> Iterator[list[tuple[int, bytes]]]:
        """Offset and value of each message in [start, end)."""
        kafka = require("confluent_kafka", extra="kafka")
        with self._consumer() as (consumer, errors):
            consumer.assign([kafka.TopicPartition(self.topic, number, start)])
            last_news = time.monotonic()
            is_done = False
            while not is_done:
                given = consumer.consume(_MESSAGES_PER_BATCH, timeout=0.5)
                messages = []
                for message in given:
                    error, offset = message.error(), message.offset()
                    if error is None:
                        if offset < end and message.value() is not None:
                            messages.append((offset, message.value()))
                        offset += 1  # where reading goes on
                    elif error.code() != kafka.KafkaError._PARTITION_EOF:  # noqa: SLF001
                        raise DataError(f"Topic {self.topic!r}, partition {number}: {error.str()}.")
                    # The last offsets before the end may hold no message (compacted, or markers of
                    # transactions): a message beyond it tells, or where the partition ends. That
                    # may be before the end, too, as long as a transaction is open.
                    is_done = is_done or offset >= end
                yield messages
                if given:
                    last_news = time.monotonic()
                elif time.monotonic() - last_news > _SILENCE_S:
                    why = f" The last error was: {errors[-1]}." if errors else ""
                    raise DataError(
                        f"Topic {self.topic!r}, partition {number} gave nothing for {_SILENCE_S:g} "
                        f"seconds before offset {end}.{why}"
                    )

    @contextmanager
    def _consumer(self) -> Iterator[tuple[Any, list[str]]]:
        kafka = require("confluent_kafka", extra="kafka")
        errors: list[str] = []
        where = f"Topic {self.topic!r}"
        options = {name: expand(str(v), where) for name, v in (self.options or {}).items()}
        try:
            consumer = kafka.Consumer(
                {
                    "group.id": "tadka.dataset",  # never joined: partitions are assigned
                    **options,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "enable.partition.eof": True,
                    "bootstrap.servers": self.servers,
                    "error_cb": lambda error: errors.append(self._concealed(error.str())),
                }
            )
        except kafka.KafkaException as error:
            # without the error itself, which would show the values
            raise ConfigError(f"{where}: {self._told(error)}.") from None
        try:
            yield consumer, errors
        except kafka.KafkaException as error:
            why = f" ({errors[-1]})" if errors else ""
            raise DataError(
                f"{where} at {self.servers!r} cannot be read: {self._told(error)}{why}."
            ) from None
        finally:
            consumer.close()

    def _told(self, error: Any) -> str:
        return self._concealed(error.args[0].str())

    def _concealed(self, message: str) -> str:
        return conceal(message, map(str, (self.options or {}).values()))

    def _ranges(self, consumer: Any) -> dict[int, tuple[int, int]]:
        """First and last offset (not taken) of each partition."""
        kafka = require("confluent_kafka", extra="kafka")
        # asking for one topic by name might create it
        topics = consumer.list_topics(timeout=_ANSWER_S).topics
        if self.topic not in topics:
            raise NotFound(
                f"There is no topic {self.topic!r} at {self.servers!r}; there are "
                f"{', '.join(sorted(topics)) or 'none'}."
            )
        numbers = sorted(topics[self.topic].partitions)
        marks = {
            n: consumer.get_watermark_offsets(
                kafka.TopicPartition(self.topic, n), timeout=_ANSWER_S
            )
            for n in numbers
        }
        starts = self._offsets(
            consumer, self.start, {n: low for n, (low, _) in marks.items()}, marks
        )
        ends = self._offsets(consumer, self.end, {n: high for n, (_, high) in marks.items()}, marks)
        for number, (low, high) in marks.items():
            if starts[number] < low:
                raise DataError(
                    f"Topic {self.topic!r}, partition {number} begins at offset {low}; "
                    f"{starts[number]} is gone. Read it sooner, or lengthen the topic's retention."
                )
            if ends[number] > high:
                raise DataError(
                    f"Topic {self.topic!r}, partition {number} ends before offset {high}; "
                    f"{ends[number]} is still to come."
                )
        return {n: (starts[n], ends[n]) for n in numbers}

    def _offsets(
        self,
        consumer: Any,
        bound: Bound,
        default: Mapping[int, int],
        marks: Mapping[int, tuple[int, int]],
    ) -> dict[int, int]:
        if isinstance(bound, int):
            return dict.fromkeys(marks, bound)
        if isinstance(bound, Mapping):
            unknown = sorted(set(bound) - set(marks))
            if unknown:
                raise ConfigError(
                    f"Topic {self.topic!r} has no partition {unknown[0]}; it has {len(marks)}."
                )
            return {number: bound.get(number, default[number]) for number in marks}
        if not isinstance(bound, dt.datetime):
            return dict(default)
        kafka = require("confluent_kafka", extra="kafka")
        millis = int(bound.timestamp() * 1000)
        asked: Sequence[Any] = [kafka.TopicPartition(self.topic, n, millis) for n in marks]
        found = consumer.offsets_for_times(asked, timeout=_ANSWER_S)
        # below zero: no message is that late
        return {f.partition: f.offset if f.offset >= 0 else marks[f.partition][1] for f in found}


def _bound(given: Bound, name: str) -> Bound:
    if isinstance(given, str):
        try:
            given = dt.datetime.fromisoformat(given)
        except ValueError as error:
            raise ConfigError(f"{name}={given!r} is no time in ISO form.") from error
    if isinstance(given, dt.datetime):
        if given.tzinfo is None:
            raise ConfigError(f"{name}={given.isoformat()!r} has no zone; end it with Z for UTC.")
        return given.astimezone(dt.UTC)
    if isinstance(given, Mapping):
        return {int(partition): int(offset) for partition, offset in given.items()}
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
        raise ConfigError(
            f"{name}={given!r}; it must be an offset, offsets by partition, or a time with a zone."
        )
    return given
