"""Any object by pickle, with stable bytes."""

import io
import pickle
import pickletools
from typing import Any, ClassVar

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.task.output.out import Out

_SORTED_BYTES = 4 << 20  # sets are sorted in pickles up to this size, arrays not counted
_SET_OPCODES = {"EMPTY_SET", "FROZENSET"}


class Pickle:
    """Any object; by cloudpickle, which keeps lambdas and local classes, where pickle fails.

    Sets are written sorted, so that their bytes do not depend on the process.
    """

    def to_bytes(self, value: Any, out: Out) -> bytes:  # noqa: ARG002
        try:
            data = pickle.dumps(value, protocol=5)
        except Exception as error:  # noqa: BLE001 - whatever the object's own methods raise
            try:
                return bytes(require("cloudpickle").dumps(value, protocol=5))
            except Exception:  # noqa: BLE001 - the same
                raise DataError(
                    f"A {type(value).__name__!r} cannot be pickled: {error}. Return plain data, or "
                    "declare Out(save=..., load=...)."
                ) from error
        return _sorted_sets(value, data)

    def from_bytes(self, data: bytes, type_: Any, out: Out) -> Any:  # noqa: ARG002
        return pickle.loads(data)


def _sorted_sets(value: Any, data: bytes) -> bytes:
    """The pickle again with sorted sets, where it holds any."""
    if b"\x8f" not in data and b"\x91" not in data:  # the opcodes of sets
        return data
    stream = pickle.dumps(value, protocol=5, buffer_callback=lambda _: False)
    if len(stream) > _SORTED_BYTES:
        return data
    if not any(opcode.name in _SET_OPCODES for opcode, _, _ in pickletools.genops(stream)):
        return data
    try:
        return _StablePickler.dumps(value)
    except RecursionError:  # a set that holds itself, or one too deep for Python
        return data


# the one in C writes sets by itself and cannot be told otherwise
_Pickler: Any = vars(pickle)["_Pickler"]


class _StablePickler(_Pickler):  # type: ignore[misc]
    """Python's pickler, with the items of sets in the order of their own pickles."""

    dispatch: ClassVar[dict[type, Any]] = dict(_Pickler.dispatch)

    @classmethod
    def dumps(cls, value: Any) -> bytes:
        """The pickle of a value."""
        buffer = io.BytesIO()
        cls(buffer, protocol=5).dump(value)
        return buffer.getvalue()

    def _in_order(self, items: Any) -> list[Any]:
        return sorted(items, key=_StablePickler.dumps)

    def save_set(self, value: set[Any]) -> None:
        self.write(pickle.EMPTY_SET)
        self.memoize(value)
        items = self._in_order(value)
        for start in range(0, len(items), 1000):
            self.write(pickle.MARK)
            for item in items[start : start + 1000]:
                self.save(item)
            self.write(pickle.ADDITEMS)

    def save_frozenset(self, value: frozenset[Any]) -> None:
        self.write(pickle.MARK)
        for item in self._in_order(value):
            self.save(item)
        if id(value) in self.memo:  # an item holds the set itself
            self.write(pickle.POP_MARK + self.get(self.memo[id(value)][0]))
            return
        self.write(pickle.FROZENSET)
        self.memoize(value)

    dispatch[set] = save_set
    dispatch[frozenset] = save_frozenset
