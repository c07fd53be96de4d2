"""The Python of a definition that is known as YAML: a module that a person can go on with."""

import ast
import keyword
from collections.abc import Mapping
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.check.config import KINDS
from tadka.dataset.define.definition import Definition
from tadka.dataset.define.table import RESERVED
from tadka.dataset.document import to_config
from tadka.dataset.expression.kind import named_kind

_TYPES = {
    "bool": "bool",
    "int64": "int",
    "float64": "float",
    "string": "str",
    "bytes": "bytes",
    "date": "date",
    "time": "datetime",
    "utc": "Utc",
}
_SOURCES = {
    name.lower(): name for name in ("Files", "Catalog", "Database", "Delta", "Iceberg", "Kafka")
}
_INDENT = "    "


def to_python(definition: Definition) -> str:
    """A module that defines the same dataset.

    Args:
        definition: Of any dataset, whose names are names of Python.

    Raises:
        ConfigError: A name is none, or hides another one, or a check is the user's own.
    """
    return _Writer(to_config(definition)).text()


class _Writer:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._used: set[str] = {"Dataset", "Table"}
        self._modules: set[str] = set()

    def text(self) -> str:
        tables = [self._table(name, each) for name, each in self._config["tables"].items()]
        dataset = self._dataset()
        self._refuse_hidden()
        imports = []
        names = sorted({"date", "datetime", "timedelta"} & self._modules)
        if names:
            imports.append(f"from datetime import {', '.join(names)}")
        if "np" in self._modules:
            imports += ["", "import numpy as np"]
        public = "".join(f"{_INDENT}{name},\n" for name in sorted(self._used))
        imports += ["", f"from tadka.dataset import (\n{public})"]
        return "\n\n\n".join(["\n".join(imports).lstrip("\n"), *tables, dataset]) + "\n"

    def _refuse_hidden(self) -> None:
        """Refuses what would hide a name of the module from what stands below it in the class."""
        taken = {*self._used, *self._modules, *self._config["tables"]}
        for name in (*self._config.get("parameters", {}), *self._config["relations"]):
            if name in taken:
                raise ConfigError(
                    f"{name!r} is a name that the module has for something else; the definition "
                    "lives on as YAML only, or with another name."
                )

    # ------------------------------------------------------------ tables

    def _table(self, name: str, each: Mapping[str, Any]) -> str:
        options = [f"source={self._source(each['source'])}"]
        if "time" in each:
            options.append(f"time={each['time']!r}")
        lines = [f"class {_name(name)}(Table, {', '.join(options)}):"]
        for column, text in each["columns"].items():
            is_partition = column in each.get("partitions", ())
            self._used.add("Partition" if is_partition else "Column")
            kind = self._type(str(named_kind(text.removesuffix("?"), column)))
            kind += " | None" if text.endswith("?") else ""
            attribute, named = column, ""
            if not _is_attribute(column):
                attribute = f"column_{len(lines)}_"
                named = f" = Named({column!r})"
                self._used.add("Named")
            lines.append(
                f"{_INDENT}{attribute}: {'Partition' if is_partition else 'Column'}[{kind}]{named}"
            )
        return "\n".join(lines)

    def _type(self, kind: str) -> str:
        if kind.startswith("list["):
            return f"list[{self._type(kind[5:-1])}]"
        found = _TYPES.get(kind, f"np.{kind}")
        if found in ("date", "datetime"):
            self._modules.add(found)
        elif found == "Utc":
            self._used.add(found)
        elif found.startswith("np."):
            self._modules.add("np")
        return found

    def _source(self, source: Any) -> str:
        if isinstance(source, str):
            return repr(source)
        values = dict(source)
        name = _SOURCES[values.pop("kind")]
        self._used.add(name)
        return f"{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})"

    # ------------------------------------------------------------ the dataset

    def _dataset(self) -> str:
        config = self._config
        lines = [f"class {_name(config['name'])}(Dataset):"]
        if "doc" in config:
            doc = config["doc"]
            is_plain = "\\" not in doc and '"""' not in doc and not doc.endswith('"')
            lines += [f'"""{doc}"""' if is_plain else repr(doc), ""]
        for name, each in config.get("parameters", {}).items():
            self._used.add("Parameter")
            default = f", default={each['default']!r}" if "default" in each else ""
            lines.append(f"{_name(name)} = Parameter({self._type(each['type'])}{default})")
        lines.append("")
        order = sorted(config["relations"], key=lambda alias: alias != config["rows"])
        lines += [f"{_name(a)} = {self._rows(config['relations'][a])}" for a in order]
        lines += ["", f"rows = {config['rows']}", "features = {"]
        lines += [
            f"{_INDENT}{name!r}: {self._code(text)}," for name, text in config["features"].items()
        ]
        lines.append("}")
        if "label" in config:
            lines.append(f"label = {self._label(config['label'])}")
        if "split" in config:
            lines.append(f"split = {self._split(config['split'])}")
        if config.get("checks"):
            lines += ["checks = [", *(f"{_INDENT}{self._check(c)}," for c in config["checks"]), "]"]
        self._used.add("Output")
        options = [f"{key}={value!r}" for key, value in config["output"].items() if value != []]
        lines.append(f"output = Output({', '.join(options)})")
        return "\n".join([lines[0], *(_INDENT + line if line else "" for line in lines[1:])])

    def _rows(self, each: Mapping[str, Any]) -> str:
        text = f"{each['table']}"
        if "between" in each:
            start, end = map(self._code, each["between"])
            text += f".between({start}, {end}, by={each['by']!r})"
        if "where" in each:
            text += f".where({self._code(each['where'], each['table'])})"
        found = each.get("found")
        if found is None:
            return text if "(" in text else f"{text}.all()"
        pairs = ", ".join(f"{name!r}: {self._code(key)}" for name, key in each["on"].items())
        on = f"on={{{pairs}}}"
        if found == "window":
            bounds = f"{self._code(each['start'])}, {self._code(each['end'])}"
            return f"{text}.within({bounds}, {on})"
        if found == "as_of":
            at = f", at={self._code(each['at'])}" if "at" in each else ""
            return f"{text}.as_of({on}{at})"
        return f"{text}.join({on}, how={each['how']!r}, max_matches={each['max_matches']!r})"

    def _label(self, each: Mapping[str, Any]) -> str:
        self._used.add("Label")
        options = [self._code(each["expression"]), f"name={each['name']!r}"]
        options += [
            f"{key}={self._code(each[key])}"
            for key in ("window", "gap", "matured_by")
            if key in each
        ]
        return f"Label({', '.join(options)})"

    def _split(self, each: Mapping[str, Any]) -> str:
        name = f"by_{each['by']}"
        self._used.add(name)
        options = [self._code(each["key"])]
        if each["by"] == "hash":
            options.append(f"salt={each['salt']!r}")
            options += [f"{_name(part)}={share!r}" for part, share in each["shares"].items()]
        else:
            options += [
                f"{_name(part)}={None if end is None else self._code(end)}"
                for part, end in each["ends"].items()
            ]
        return f"{name}({', '.join(options)})"

    def _check(self, given: Mapping[str, Any]) -> str:
        values = dict(given)
        kind = values.pop("check")
        if kind == "Custom" or kind not in KINDS:
            raise ConfigError(
                f"Check {values.get('function', kind)!r} is Python of its own module; its "
                "definition is Python already, or lives on as YAML."
            )
        self._used.add(kind)
        options: list[str] = []
        for key, value in values.items():
            if key == "columns" and kind == "Unique":
                options = [*map(repr, value), *options]
            elif key == "max_age_s":
                self._used.add("seconds")
                options.append(f"max_age=seconds({value!r})")
            else:
                options.append(f"{key}={value!r}")
        return f"{kind}({', '.join(options)})"

    # ------------------------------------------------------------ expressions

    def _code(self, text: str, table: str = "") -> str:
        """An expression's text as Python that runs in the class."""
        tree = _Names(table, self._used, self._modules).visit(ast.parse(text, mode="eval"))
        return ast.unparse(tree)


class _Names(ast.NodeTransformer):
    """Names of texts as names of the module."""

    def __init__(self, table: str, used: set[str], modules: set[str]) -> None:
        self._table = table
        self._used = used
        self._modules = modules

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not self._table:
            return node
        if _is_attribute(node.id):
            return ast.Attribute(ast.Name(self._table, ast.Load()), node.id, ast.Load())
        return self._column(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """What is no method: a parameter, or a column of rows."""
        if isinstance(node.value, ast.Name) and node.value.id == "parameters":
            return ast.Name(node.attr, ast.Load())
        if _is_attribute(node.attr):
            return node
        return ast.Subscript(node.value, ast.Constant(node.attr), ast.Load())

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = node.func
        if isinstance(function, ast.Name):
            node.args = [self.visit(argument) for argument in node.args]
            node.func = self._function(function.id)
            if function.id == "microseconds":
                node.keywords, node.args = [ast.keyword("microseconds", node.args[0])], []
            if function.id == "column":
                assert isinstance(node.args[0], ast.Constant)
                return self._column(node.args[0].value)
            return node
        assert isinstance(function, ast.Attribute)
        node.args = [self.visit(argument) for argument in node.args]
        node.func = ast.Attribute(self.visit(function.value), function.attr, ast.Load())
        return node

    def _column(self, name: Any) -> ast.expr:
        """A column of the table by its name, where it is no attribute."""
        columns = ast.Attribute(ast.Name(self._table, ast.Load()), "columns", ast.Load())
        return ast.Subscript(columns, ast.Constant(name), ast.Load())

    def _function(self, name: str) -> ast.expr:
        if name in ("date", "time", "utc"):
            module = "date" if name == "date" else "datetime"
            self._modules.add(module)
            return ast.Attribute(ast.Name(module, ast.Load()), "fromisoformat", ast.Load())
        if name == "microseconds":
            self._modules.add("timedelta")
            return ast.Name("timedelta", ast.Load())
        name = "Sql" if name == "sql" else name
        if name not in ("float", "column"):
            self._used.add(name)
        return ast.Name(name, ast.Load())


def _is_plain(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _is_attribute(name: str) -> bool:
    """Whether a column can be an attribute of tables and of rows."""
    return _is_plain(name) and name not in RESERVED and not name.startswith("_")


def _name(name: str) -> str:
    if not _is_plain(name):
        raise ConfigError(f"{name!r} is no name of Python; the definition lives on as YAML only.")
    return name
