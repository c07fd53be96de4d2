"""Expressions as SQL: what all engines write alike, and the places where they differ."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.expression.expression import (
    Aggregate,
    Call,
    Column,
    Expression,
    Literal,
    Parameter,
    Sql,
)
from tadka.dataset.expression.kind import DATE, FLOAT, INT, STRING, Kind

_COMPARISONS = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_LOGIC = {"&": "AND", "|": "OR"}
_PARTS = ("year", "month", "day", "weekday", "hour", "minute")
_KEY_KINDS = "whole numbers, booleans, texts, bytes, dates and times"


@dataclass(frozen=True)
class Scope:
    """Where the names in an expression lead.

    Args:
        column: The SQL of a column, of exactly the column's kind.
        parameters: Values by name.
        aggregate: The SQL of an aggregate that was computed before; None where there is none.
    """

    column: Callable[[Column[Any]], str]
    parameters: Mapping[str, Literal[Any]]
    aggregate: Callable[[Aggregate[Any]], str] | None = None


class Dialect:
    """SQL of one engine. What it writes has exactly the type of the expression's kind.

    Engines may evaluate a condition before another one that stands left of it: a division that
    only some rows can bear belongs into `if_else`, which both engines evaluate row by row.

    Attributes:
        name: Of the engine.
        mark: The quotation mark around names.
    """

    name: str
    mark: str

    # ------------------------------------------------------------ what engines write differently

    def type(self, kind: Kind) -> str:
        """The type of a kind."""
        raise NotImplementedError

    def text(self, value: str) -> str:
        """A constant text, whatever characters it holds."""
        raise NotImplementedError

    def binary(self, value: bytes) -> str:
        """Constant bytes."""
        raise NotImplementedError

    def error(self, message: str) -> str:
        """What fails when it is evaluated, in a branch of CASE."""
        raise NotImplementedError

    def whole_quotient(self, dividend: str, divisor: str) -> str:
        """Quotient of two BIGINT that are not zero, cut towards zero; an error if it overflows."""
        raise NotImplementedError

    def whole(self, value: str, kind: Kind) -> str:
        """A float with its fraction cut off, as a whole number; an error where it does not fit."""
        raise NotImplementedError

    def narrow(self, value: str) -> str:
        """A float64 as a float32; an error where a finite one does not fit."""
        raise NotImplementedError

    def is_nan(self, value: str) -> str:
        """Whether a float is NaN: null or false where it is null."""
        return f"isnan({value})"

    def weekday(self, value: str) -> str:
        """Day of the week, 0 on Mondays."""
        raise NotImplementedError

    def in_zone(self, value: str, zone: str) -> str:
        """What clocks show in a zone (a constant text) at a point in time."""
        raise NotImplementedError

    def micros(self, value: str) -> str:
        """Microseconds since 1970 of a time or a point in time, as BIGINT."""
        raise NotImplementedError

    def days(self, value: str) -> str:
        """Days since 1970 of a date, as a whole number."""
        raise NotImplementedError

    def later_day(self, value: str, num_days: int) -> str:
        """A date some days later."""
        raise NotImplementedError

    def later_time(self, value: str, num_micros: int) -> str:
        """A time some microseconds later, in whatever zone."""
        raise NotImplementedError

    def starts_with(self, value: str, prefix: str) -> str:
        """Whether a text begins with another, both SQL."""
        raise NotImplementedError

    def hexadecimal(self, value: str) -> str:
        """The number, BIGINT, that eight hexadecimal digits stand for."""
        raise NotImplementedError

    def hexadecimal_of(self, value: str) -> str:
        """Bytes as hexadecimal digits in capitals."""
        return f"hex({value})"

    # ------------------------------------------------------------ expressions

    def expression(
        self,
        expression: Expression[Any],
        *,
        column: Callable[[Column[Any]], str],
        parameters: Mapping[str, Literal[Any]],
        aggregate: Callable[[Aggregate[Any]], str] | None = None,
    ) -> str:
        """The SQL of an expression.

        Args:
            expression: Any.
            column: The SQL of a column, of exactly the column's kind.
            parameters: Values by name.
            aggregate: The SQL of an aggregate that was computed before.

        Raises:
            ConfigError: A parameter has no value, raw SQL is not there for this engine, an
                aggregate stands where none can, or something is divided by the constant 0.
        """
        return self._write(expression, Scope(column, parameters, aggregate))

    def quote(self, name: str) -> str:
        """A name of a column, a table or a view, in quotes.

        Args:
            name: Any, but not empty.

        Raises:
            ConfigError: It is empty or holds NUL, which no engine takes.
        """
        if not name or "\0" in name:
            raise ConfigError(f"{name!r} is no name that SQL could hold; choose another.")
        return self.mark + name.replace(self.mark, 2 * self.mark) + self.mark

    def literal(self, literal: Literal[Any]) -> str:
        """A constant, of exactly the type of its kind.

        Args:
            literal: Its value may be of any kind but a list.
        """
        value, kind = literal.value, literal.kind
        if kind.name == "bool":
            return "TRUE" if value else "FALSE"
        if kind.name == "string":
            return self.text(value)
        if kind.name == "bytes":
            return self.binary(value)
        if kind.is_float:
            # of text, because engines read 0.1 as a decimal number; they know inf and nan by name
            shown = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(repr(value))
            return self.cast(f"'{shown or repr(value)}'", kind)
        if kind.is_int:
            # the least one is no number with a minus in SQL: its positive is too large
            return self.cast(str(value) if value > -(2**63) else f"'{value}'", kind)
        if kind == DATE:
            return f"DATE '{value.isoformat()}'"
        shown = value.isoformat(sep=" ", timespec="microseconds")
        return self.cast(f"'{shown}'", kind)

    def cast(self, sql: str, kind: Kind) -> str:
        """SQL made the type of a kind.

        Args:
            sql: Of a type that the engine can make so.
            kind: That is wanted.
        """
        return f"CAST({sql} AS {self.type(kind)})"

    def bucket(self, sql: str, kind: Kind, salt: str) -> str:
        """A BIGINT in [0, 2**32) that depends on a key alone, the same on every engine.

        It is the first 32 bits of the MD5 of salt, ":" and the key as text: whole numbers in
        decimal, booleans as True and False, dates in days and times in microseconds since 1970,
        bytes in hexadecimal capitals. All nulls share the bucket of the salt alone.

        Args:
            sql: Of the key.
            kind: Of the key.
            salt: Another one gives other buckets.

        Raises:
            ConfigError: The key is a float or a list.
        """
        if kind.is_float or kind.item is not None:
            raise ConfigError(f"A split by {kind} is not possible; keys are {_KEY_KINDS}.")
        if kind.is_time:
            text = self.cast(self.micros(sql), STRING)
        elif kind == DATE:
            # years after 9999 are not written alike
            text = self.cast(self.days(sql), STRING)
        elif kind.name == "bytes":
            text = self.hexadecimal_of(sql)
        else:
            text = self._as_text(sql, kind)
        salted = f"coalesce({self.text(salt + ':')} || {text}, {self.text(salt)})"
        return self.hexadecimal(f"substr(md5({salted}), 1, 8)")

    # ------------------------------------------------------------ the parts of it

    def _write(self, expression: Expression[Any], scope: Scope) -> str:
        match expression:
            case Literal():
                return self.literal(expression)
            case Parameter():
                if expression.name not in scope.parameters:
                    raise ConfigError(f"Parameter {expression.name!r} has no value; give it one.")
                return self.literal(scope.parameters[expression.name])
            case Column():
                return scope.column(expression)
            case Aggregate():
                if scope.aggregate is None:
                    raise ConfigError(
                        f"{expression} stands in a condition or a key, where every row is still "
                        "on its own; aggregates belong into features and the label."
                    )
                return scope.aggregate(expression)
            case Sql():
                if self.name not in expression.texts:
                    raise ConfigError(
                        f"{expression} has no text for {self.name}; give {self.name}= as well."
                    )
                return self.cast(f"({expression.texts[self.name]})", expression.kind)
        assert isinstance(expression, Call), expression
        return self._call(expression, [self._write(part, scope) for part in expression.arguments])

    def _call(self, call: Call[Any], texts: Sequence[str]) -> str:
        operator, first = call.operator, texts[0]
        kind = call.arguments[0].kind
        if operator in _COMPARISONS:
            return self._comparison(call, texts)
        if operator in _LOGIC:
            return f"({first} {_LOGIC[operator]} {texts[1]})"
        if operator in ("+", "-", "*"):
            left, right = self._widened(call, texts, call.kind)
            return f"({left} {operator} {right})"
        if operator == "/":
            left, right = self._widened(call, texts, FLOAT)
            return f"({left} / {self._divisor(call, right)})"
        if operator in ("//", "%"):
            return self._floor(call, texts)
        if operator in _PARTS:
            found = self.weekday(first) if operator == "weekday" else f"{operator}({first})"
            return self.cast(found, INT)
        if operator == "shift":
            amount = call.arguments[1]
            assert isinstance(amount, Literal)
            later = self.later_day if kind == DATE else self.later_time
            return later(first, amount.value)
        if operator == "seconds_since":
            between = " - ".join(self.micros(text) for text in texts)
            million = self.literal(Literal(1e6, FLOAT))
            return f"({self.cast(between, FLOAT)} / {million})"
        if operator in ("coalesce", "if_else"):
            parts = call.arguments if operator == "coalesce" else call.arguments[1:]
            fitting = [
                text if part.kind == call.kind else self.cast(text, call.kind)
                for part, text in zip(parts, texts[-len(parts) :], strict=True)
            ]
            if operator == "coalesce":
                return f"coalesce({', '.join(fitting)})"
            return f"CASE WHEN {first} THEN {fitting[0]} ELSE {fitting[1]} END"
        match operator:
            case "is_in":
                if not kind.is_float:
                    return f"({first} IN ({', '.join(texts[1:])}))"
                wide = first if kind == FLOAT else self.cast(first, FLOAT)
                found = f"{wide} IN ({', '.join(texts[1:])})"
                return f"({found} AND NOT {self.is_nan(first)})"
            case "is_null":
                return f"({first} IS NULL)"
            case "is_nan":
                return f"CASE WHEN {first} IS NOT NULL THEN {self.is_nan(first)} END"
            case "~":
                return f"(NOT {first})"
            case "date":
                return self.cast(first, DATE)
            case "in_zone":
                return self.in_zone(first, texts[1])
            case "starts_with":
                return self.starts_with(first, texts[1])
            case "contains":
                return f"contains({first}, {texts[1]})"
            case "to":
                return self._converted(call, first)
        raise AssertionError(f"no SQL for {operator!r}")

    def _comparison(self, call: Call[Any], texts: Sequence[str]) -> str:
        kinds = [part.kind for part in call.arguments]
        if any(kind.is_float for kind in kinds) and kinds[0] != kinds[1]:
            # beside a float32 one engine makes an int32 a float32, the other both float64
            texts = self._widened(call, texts, FLOAT)
        found = f"{texts[0]} {_COMPARISONS[call.operator]} {texts[1]}"
        # readers of Parquet skip by bounds that leave NaN out, and engines take NaN for greatest
        guards = [
            f" AND NOT {self.is_nan(text)}"
            for part, text in zip(call.arguments, texts, strict=True)
            if part.kind.is_float and not (isinstance(part, Literal) and part.value == part.value)
        ]
        return f"({found}{''.join(guards)})"

    def _widened(self, call: Call[Any], texts: Sequence[str], kind: Kind) -> list[str]:
        return [
            text if part.kind == kind else self.cast(text, kind)
            for part, text in zip(call.arguments, texts, strict=True)
        ]

    def _divisor(self, call: Call[Any], text: str) -> str:
        """What is divided by, with an error in place of 0."""
        divisor = call.arguments[1]
        if isinstance(divisor, Literal) and divisor.value != 0:
            return text
        return f"CASE WHEN {text} = 0 THEN {self.error(f'{call} divides by 0.')} ELSE {text} END"

    def _floor(self, call: Call[Any], texts: Sequence[str]) -> str:
        """`//` and `%` rounding down, where SQL cuts towards zero."""
        left, right = self._widened(call, texts, INT)
        divisor = self._divisor(call, right)
        # the least number % -1 overflows in one engine; by 1 the remainder is the same 0
        safe = f"CASE WHEN {right} = -1 THEN 1 ELSE {divisor} END"
        rest = f"({left} % {self.cast(safe, INT)})"
        constant = call.arguments[1]
        if isinstance(constant, Literal) and constant.value > 0:
            rest, is_below = f"({left} % {right})", f"({left} % {right}) < 0"
        else:
            is_below = f"{rest} <> 0 AND ({rest} < 0) <> ({right} < 0)"
        if call.operator == "%":
            return f"({rest} + CASE WHEN {is_below} THEN {right} ELSE {self._int(0)} END)"
        quotient = self.whole_quotient(left, divisor)
        return f"({quotient} - CASE WHEN {is_below} THEN {self._int(1)} ELSE {self._int(0)} END)"

    def _converted(self, call: Call[Any], text: str) -> str:
        kind, wanted = call.arguments[0].kind, call.kind
        if wanted == STRING:
            return self._as_text(text, kind)
        if kind.is_float and wanted.is_int:
            return self.whole(text, wanted)
        if kind == FLOAT and wanted.is_float:
            return self.narrow(text)
        return self.cast(text, wanted)

    def _as_text(self, text: str, kind: Kind) -> str:
        if kind.name == "bool":
            return f"CASE WHEN {text} THEN 'True' WHEN NOT {text} THEN 'False' END"
        return text if kind == STRING else self.cast(text, STRING)

    def _int(self, value: int) -> str:
        return self.literal(Literal(value, INT))
