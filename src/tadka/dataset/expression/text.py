"""Expressions as text, and back: what `str()` of an expression gives is read here.

The text is the Python that makes the expression. Nothing is executed: its syntax tree is walked,
and only what an expression can be made of is known.
"""

import ast
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.expression.expression import (
    Aggregate,
    Column,
    Expression,
    Parameter,
    Sql,
    days,
    hours,
    if_else,
    minutes,
    seconds,
)

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
}
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
_METHODS = frozenset(
    {
        *("is_in", "between", "is_null", "is_not_null", "is_nan", "coalesce", "to"),
        *("year", "month", "day", "weekday", "hour", "minute", "date", "in_zone", "seconds_since"),
        *("starts_with", "contains", "sum", "mean", "min", "max", "count", "count_distinct"),
    }
)
_UTC_TEXT = "utc('2026-01-31T12:00:00+00:00')"


def _utc(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone; write {_UTC_TEXT}")
    return moment


def _time(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        raise ValueError(f"{text!r} has a zone; write {_UTC_TEXT}")
    return moment


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "date": dt.date.fromisoformat,
    "time": _time,
    "utc": _utc,
    "float": float,
    "days": days,
    "hours": hours,
    "minutes": minutes,
    "seconds": seconds,
    "microseconds": lambda count: dt.timedelta(microseconds=count),
    "if_else": if_else,
    "sql": Sql,
}


class Reader:
    """Reads expressions of a dataset.

    Args:
        columns: Those of the one table that a condition is about, by name; none elsewhere.
        relations: The dataset's rows by alias; a column of them is `alias.name`.
        parameters: The dataset's parameters by name.
    """

    def __init__(
        self,
        *,
        columns: Mapping[str, Column[Any]] | None = None,
        relations: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Parameter[Any]] | None = None,
    ) -> None:
        self._columns = columns or {}
        self._relations = relations or {}
        self._parameters = parameters or {}

    def expression(self, text: str) -> Expression[Any]:
        """The expression of a text.

        Args:
            text: As `str(expression)` gives it: `"(price > 5.0) & user.is_not_null()"`.

        Raises:
            ConfigError: It is no expression, or names what is not there.
        """
        found = self.value(text)
        if not isinstance(found, Expression):
            raise ConfigError(f"The text {text!r} is {found!r}, a constant; it must name a column.")
        return found

    def value(self, text: str) -> Any:
        """The expression or the Python constant of a text.

        Args:
            text: As of an expression, a literal or a duration.

        Raises:
            ConfigError: It is none of these.
        """
        try:
            tree = ast.parse(text.strip(), mode="eval")
            return self._node(tree.body)
        except SyntaxError as error:
            raise ConfigError(f"The text {text!r} is no expression: {error.msg}.") from error
        except RecursionError as error:
            raise ConfigError("The text of an expression is nested too deeply.") from error
        except ConfigError as error:
            raise ConfigError(f"In the text {text!r}: {error}") from error
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"The text {text!r} is no expression: {error}.") from error

    def _node(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Constant) and isinstance(
            node.value, bool | int | float | str | bytes
        ):
            return node.value
        if isinstance(node, ast.List | ast.Tuple):
            return [self._node(item) for item in node.elts]
        if isinstance(node, ast.UnaryOp):
            operand = self._node(node.operand)
            if isinstance(node.op, ast.USub):
                return -operand
            if isinstance(node.op, ast.Invert) and isinstance(operand, Expression):
                return ~operand
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            left, right = self._node(node.left), self._node(node.right)
            if isinstance(left, Expression) or isinstance(right, Expression):
                return _BINARY[type(node.op)](left, right)
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
            left, right = self._node(node.left), self._node(node.comparators[0])
            if isinstance(left, Expression) or isinstance(right, Expression):
                return _COMPARE[type(node.ops[0])](left, right)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Attribute):
            return self._member(node.value, node.attr)
        if isinstance(node, ast.Subscript):
            return self._member(node.value, self._node(node.slice))
        raise ConfigError(f"{ast.unparse(node)!r} is nothing that an expression is made of.")

    def _name(self, name: str) -> Any:
        if name in self._columns:
            return self._columns[name]
        if name in self._relations or name == "parameters":
            raise ConfigError(f"{name!r} is no value; write {name}.NAME.")
        known = sorted([*self._columns, *(f"{alias}.NAME" for alias in self._relations)])
        raise ConfigError(f"{name!r} is not known. Known are {', '.join(known) or 'no columns'}.")

    def _member(self, owner: ast.AST, name: Any) -> Any:
        if isinstance(owner, ast.Name) and isinstance(name, str):
            if owner.id in self._relations:
                return self._relations[owner.id][name]
            if owner.id == "parameters":
                if name in self._parameters:
                    return self._parameters[name]
                known = ", ".join(self._parameters) or "none"
                raise ConfigError(f"Parameter {name!r} is not known. Known are {known}.")
        raise ConfigError(f"{ast.unparse(owner)!r} has no columns.")

    def _call(self, node: ast.Call) -> Any:
        arguments = [self._node(argument) for argument in node.args]
        options = {item.arg: self._node(item.value) for item in node.keywords if item.arg}
        if len(options) != len(node.keywords):
            raise ConfigError("** is nothing that an expression is made of.")
        function = node.func
        if isinstance(function, ast.Name):
            if function.id == "column" and len(arguments) == 1 and not options:
                return self._name(arguments[0])
            if function.id in _FUNCTIONS:
                return _FUNCTIONS[function.id](*arguments, **options)
        elif isinstance(function, ast.Attribute):
            owner = function.value
            if isinstance(owner, ast.Name) and owner.id in self._relations:
                window = self._relations[owner.id]
                if function.attr == "count" and not arguments and not options:
                    counted = window.count()
                    assert isinstance(counted, Aggregate)
                    return counted
            else:
                value = self._node(owner)
                if isinstance(value, Expression) and function.attr in _METHODS:
                    return getattr(value, function.attr)(*arguments, **options)
        raise ConfigError(f"{ast.unparse(function)!r} is no function of expressions.")
