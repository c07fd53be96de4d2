"""Expressions as SQL of Spark, proved on 4.3."""

import string
from typing import Final

from tadka.dataset.expression.kind import FLOAT, INT, TIME, Kind
from tadka.dataset.sql.dialect import Dialect

SETTINGS: Final = {
    # overflow, division by zero and casts that do not fit are errors
    "spark.sql.ansi.enabled": "true",
    # parts of times and casts between the two kinds of timestamps are those of UTC
    "spark.sql.session.timeZone": "UTC",
    # Parquet's timestamps without zone stay so
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    # days before 1582 are those of the file
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    # "${...}" in a name is a part of the name
    "spark.sql.variable.substitute": "false",
}
_PLAIN = frozenset(string.ascii_letters + string.digits + " !#%&()*+,-./:;<=>?@[]^_{|}~")


class Spark(Dialect):
    """SQL of Spark, in a session that has the `SETTINGS` of this module."""

    name = "spark"
    mark = "`"

    def type(self, kind: Kind) -> str:
        return kind.spark

    def text(self, value: str) -> str:
        if _PLAIN.issuperset(value):
            return f"'{value}'"
        # how quotes and backslashes are read depends on settings; digits always are themselves
        return f"CAST({self.binary(value.encode())} AS STRING)"

    def binary(self, value: bytes) -> str:
        return f"X'{value.hex()}'"

    def error(self, message: str) -> str:
        return f"raise_error({self.text(message)})"

    def whole_quotient(self, dividend: str, divisor: str) -> str:
        return f"({dividend} div {divisor})"

    def whole(self, value: str, kind: Kind) -> str:
        # 2**63 as a float passes Spark's own check and becomes 2**63 - 1
        limit = self.cast(f"'{2.0 ** (kind.num_bits - 1)!r}'", FLOAT)
        told = self.error(f"A number does not fit {kind}.")
        return f"CASE WHEN {value} >= {limit} THEN {told} ELSE {self.cast(value, kind)} END"

    def narrow(self, value: str) -> str:
        found = self.cast(value, Kind("float32"))
        infinity = self.cast("'Infinity'", FLOAT)
        is_lost = f"abs({found}) = {infinity} AND abs({value}) < {infinity}"
        told = self.error("A number does not fit float32.")
        return f"CASE WHEN {is_lost} THEN {told} ELSE {found} END"

    def weekday(self, value: str) -> str:
        return f"weekday({value})"

    def in_zone(self, value: str, zone: str) -> str:
        return self.cast(f"from_utc_timestamp({value}, {zone})", TIME)

    def micros(self, value: str) -> str:
        return f"unix_micros(CAST({value} AS TIMESTAMP_LTZ))"

    def days(self, value: str) -> str:
        return f"unix_date({value})"

    def later_day(self, value: str, num_days: int) -> str:
        return f"date_add({value}, {num_days})"

    def later_time(self, value: str, num_micros: int) -> str:
        sign, (whole, rest) = "-" * (num_micros < 0), divmod(abs(num_micros), 10**6)
        return f"({value} + INTERVAL '{sign}{whole}.{rest:06}' SECOND)"

    def starts_with(self, value: str, prefix: str) -> str:
        return f"startswith({value}, {prefix})"

    def hexadecimal(self, value: str) -> str:
        return self.cast(f"conv({value}, 16, 10)", INT)


SPARK: Final = Spark()
