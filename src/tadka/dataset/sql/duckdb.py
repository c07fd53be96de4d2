"""Expressions as SQL of DuckDB, proved on 1.5 and 2.0."""

from typing import Final

from tadka.dataset.expression.kind import INT, Kind
from tadka.dataset.sql.dialect import Dialect

SETTINGS: Final = {
    # no expression asks for the session's zone; raw SQL might
    "TimeZone": "UTC",
}


class DuckDB(Dialect):
    """SQL of DuckDB.

    It holds where Parquet is read with `can_have_nan=true`: without it DuckDB takes the bounds in a
    file's footer for those of all values, and conditions on NaN are folded away.
    """

    name = "duckdb"
    mark = '"'

    def type(self, kind: Kind) -> str:
        return kind.duckdb

    def text(self, value: str) -> str:
        if "\0" in value:
            return f"decode({self.binary(value.encode())})"
        return "'" + value.replace("'", "''") + "'"

    def binary(self, value: bytes) -> str:
        return f"unhex('{value.hex()}')"

    def error(self, message: str) -> str:
        return f"error({self.text(message)})"

    def whole_quotient(self, dividend: str, divisor: str) -> str:
        return f"({dividend} // {divisor})"

    def whole(self, value: str, kind: Kind) -> str:
        # a plain cast rounds half to even; it is an error where the value does not fit
        return self.cast(f"trunc({value})", kind)

    def narrow(self, value: str) -> str:
        return self.cast(value, Kind("float32"))

    def weekday(self, value: str) -> str:
        return f"isodow({value}) - 1"

    def in_zone(self, value: str, zone: str) -> str:
        return f"timezone({zone}, {value})"

    def micros(self, value: str) -> str:
        return f"epoch_us({value})"

    def days(self, value: str) -> str:
        return f"({value} - DATE '1970-01-01')"

    def later_day(self, value: str, num_days: int) -> str:
        return f"({value} + {self.cast(str(num_days), Kind('int32'))})"

    def later_time(self, value: str, num_micros: int) -> str:
        return f"({value} + to_microseconds({self.cast(str(num_micros), INT)}))"

    def starts_with(self, value: str, prefix: str) -> str:
        return f"starts_with({value}, {prefix})"

    def hexadecimal(self, value: str) -> str:
        return self.cast(f"'0x' || {value}", INT)


DUCKDB: Final = DuckDB()
