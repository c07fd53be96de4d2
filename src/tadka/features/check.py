"""Proof on data that all ways to encode rows give the same bits, and what the features are."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tadka.core.error import DataError
from tadka.features.columns import Columns
from tadka.features.declaration import Declaration, Member
from tadka.features.definition import Definition
from tadka.features.encoding import Hashed
from tadka.features.features import Features, plan_of
from tadka.features.plan import Explanation, Plan
from tadka.features.reference import Entry, evaluate, text_of
from tadka.features.sparse import SparseRows

MAX_DISTINCT = 1_000_000
_NUM_EXAMPLES = 3


@dataclass
class Observed:
    """What a feature looks like in the data.

    Args:
        values: Values seen, items of lists among them.
        missing: Of these, how many were None.
        examples: Some values and what they become.
        texts: Different values; at most `MAX_DISTINCT` are told apart.
        slots: That these fell into.
    """

    values: int = 0
    missing: int = 0
    examples: dict[str | None, Entry] = field(default_factory=dict)
    texts: set[str | None] = field(default_factory=set)
    slots: set[int] = field(default_factory=set)

    def add(self, value: Any, entry: Entry) -> None:
        """Counts one value.

        Args:
            value: Of the feature, or an item of its list.
            entry: What it becomes.
        """
        self.values += 1
        if value is None:
            self.missing += 1
        text = None if value is None else text_of(value)
        if len(self.examples) < _NUM_EXAMPLES and text not in self.examples:
            self.examples[text] = entry
        if len(self.texts) < MAX_DISTINCT:
            self.texts.add(text)
            self.slots.add(entry[0])


class Check:
    """Encodes rows in every way and compares.

    Args:
        cls: The feature class.
    """

    def __init__(self, cls: type[Features]) -> None:
        self._cls = cls
        self.definition: Definition = cls.definition()
        declaration: Declaration = cls._declaration
        self._plan = plan_of(cls, None)
        self._python = Plan(cls, self.definition, declaration, native=False)
        self.explanations: list[Explanation] = self._plan.explain()
        self.is_native = self._plan.is_native
        self.observed = [Observed() for _ in self.definition.features]
        self.num_rows = 0
        self.difference: str | None = None

    def add(self, table: Any) -> None:
        """Compares the rows of a table.

        Args:
            table: A pyarrow Table.

        Raises:
            DataError: A row cannot be encoded; rows are counted from the first table on.
        """
        first = self.num_rows
        truth = self._python.encode(table, first_row=first)
        messages = []
        for row, instance in self._python.instances(table, first):
            self._observe(row, instance)
            messages.append(instance.to_message())
        ways = {"messages, all Python": self._python.encode(messages, first_row=first)}
        if self.is_native:
            ways["columns, compiled"] = self._plan.encode(table, first_row=first)
            ways["messages, compiled"] = self._plan.encode(messages, first_row=first)
        for way, found in ways.items():
            if self.difference is None:
                self.difference = self._compare(truth, found, way, first)
        self.num_rows += table.num_rows

    def _observe(self, row: int, instance: Any) -> None:
        reference = self._python.reference
        for j, observed in enumerate(self.observed):
            value = reference.value(j, instance, row)
            entries = reference.entries(j, value, row)
            items = value if reference.members[j].shape.is_list else [value]
            for item, entry in zip(items, entries, strict=True):
                observed.add(item, entry)

    def _compare(self, truth: SparseRows, found: SparseRows, way: str, first: int) -> str | None:
        """The first difference in words; None where there is none."""
        same = all(
            getattr(truth, name).tobytes() == getattr(found, name).tobytes()
            for name in ("starts", "slots", "values", "features")
        )
        if same:
            return None
        for i in range(len(truth)):
            for j, feature in enumerate(self.definition.features):
                one, other = _entries(truth, i, j), _entries(found, i, j)
                if repr(one) != repr(other):
                    return (
                        f"Row {first + i}, feature {feature.name!r}: {one} from columns, all "
                        f"Python, and {other} from {way} (slot, value)."
                    )
        return f"The entries of {way} come in another order than those of columns, all Python."

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "class": f"{self._cls.__module__}:{self._cls.__qualname__}",
            "version": self.definition.version,
            "hash": self.definition.hash,
            "rows": self.num_rows,
            "native": self.is_native,
            "equal": self.difference is None,
            "difference": self.difference,
            "features": [
                {
                    "name": e.name,
                    "kind": "property" if e.is_property else "field",
                    "encoding": str(e.encoding),
                    "compiled": e.is_compiled,
                    "reason": e.reason,
                    "line": e.line,
                    "values": o.values,
                    "missing": o.missing,
                    "distinct": len(o.texts),
                    "collisions": collisions(e, o),
                    "examples": [
                        {"value": text, "slot": slot, "x": x}
                        for text, (slot, x) in o.examples.items()
                    ],
                }
                for e, o in zip(self.explanations, self.observed, strict=True)
            ],
        }


def collisions(explanation: Explanation, observed: Observed) -> int | None:
    """Values that share a slot with another value of the same feature.

    Args:
        explanation: Of the feature.
        observed: Of the feature.

    Returns:
        None for encodings that put many values into one slot on purpose.
    """
    if isinstance(explanation.encoding, Hashed):
        return len(observed.texts) - len(observed.slots)
    return None


def _entries(rows: SparseRows, i: int, j: int) -> list[Entry]:
    begin, end = int(rows.starts[i]), int(rows.starts[i + 1])
    return [
        (int(rows.slots[k]), float(rows.values[k]))
        for k in range(begin, end)
        if rows.features[k] == j
    ]


def texts_of(cls: type[Features], name: str, table: Any, first_row: int = 0) -> Iterator[str]:
    """The texts of a field's or property's values, as a vocabulary has them; missing ones left out.

    Args:
        cls: The feature class.
        name: Of a field or property of str, int or bool, or a list of these.
        table: A pyarrow Table.
        first_row: Number of its first row, for messages.

    Raises:
        DataError: There is no such field or property, it has no words, or a row cannot be read.
    """
    declaration: Declaration = cls._declaration
    members = {m.name: m for m in (*declaration.fields, *declaration.properties)}
    if name not in members:
        raise DataError(f"{cls.__name__!r} has no {name!r}; it has: {', '.join(members)}.")
    member = members[name]
    if member.shape.type not in ("str", "int", "bool"):
        raise DataError(
            f"{name!r} of {cls.__name__!r} is {member.shape}; a vocabulary has words of str, int "
            "or bool."
        )
    for value in _values(cls, member, declaration, table, first_row):
        for item in value if member.shape.is_list else [value]:
            if item is not None:
                yield text_of(item)


def _values(
    cls: type[Features], member: Member, declaration: Declaration, table: Any, first_row: int
) -> Iterator[Any]:
    if not member.is_property and not hasattr(cls, "__post_init__"):  # one column is enough
        columns = Columns(cls.__name__, [member])
        columns.check(table.schema)
        for batch in table.to_batches():
            yield from columns.values(columns.cast(batch, first_row))[0]
            first_row += batch.num_rows
        return
    plan = Plan(cls, cls.definition(), declaration, native=False)
    for row, instance in plan.instances(table, first_row):
        yield evaluate(instance, member, row)
