"""YAML text as plain values, by the rules of YAML 1.2: what configuration files hold.

PyYAML follows YAML 1.1, where `1e-3` is text, `on` and `no` are booleans, `010` is 8 and `1:30` is
90, and where of two equal keys the last silently wins. Here `1e-3` is a number, only `true` and
`false` are booleans, and equal keys are an error.
"""

import re
from typing import Any

import yaml

_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?(0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+(_[0-9]+)*)")
_FLOAT = re.compile(
    r"[-+]?(([0-9]+(_[0-9]+)*)?\.[0-9]+|[0-9]+(_[0-9]+)*\.?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_TAG = "tag:yaml.org,2002:"
_RESOLVERS = (
    (f"{_TAG}bool", _BOOL, "tTfF"),
    (f"{_TAG}int", _INT, "-+0123456789"),
    (f"{_TAG}float", _FLOAT, "-+.0123456789"),
)


class _Loader(yaml.SafeLoader):
    """Reads YAML 1.2 scalars and refuses equal keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_TAG}merge":
                continue
            key = (key_node.tag, str(key_node.value))
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key_node.value!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would not read back as text."""


def _kept(resolvers: dict[str, list[Any]]) -> dict[str, list[Any]]:
    replaced = {tag for tag, _, _ in _RESOLVERS}
    return {
        first: [(tag, pattern) for tag, pattern in entries if tag not in replaced]
        for first, entries in resolvers.items()
    }


def _whole(pattern: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(f"(?:{pattern.pattern})$")


for _class, _base in ((_Loader, yaml.SafeLoader), (_Dumper, yaml.SafeDumper)):
    _class.yaml_implicit_resolvers = _kept(_base.yaml_implicit_resolvers)
    for _tag, _pattern, _first in _RESOLVERS:
        _class.add_implicit_resolver(_tag, _whole(_pattern), list(_first))


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    return int(text, 0) if "x" in text or "o" in text else int(text)


_Loader.add_constructor(f"{_TAG}int", _construct_int)


def read_yaml(text: str) -> Any:
    """The value of a YAML document; None for an empty one.

    Args:
        text: One document.

    Returns:
        Mappings, lists and scalars.

    Raises:
        yaml.YAMLError: The text is not YAML, or a mapping has two equal keys.

    >>> read_yaml("lr: 1e-3")
    {'lr': 0.001}
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader


def write_yaml(value: Any) -> str:
    """YAML text that `read_yaml` reads back as the same value; mappings keep their order.

    Args:
        value: Mappings, lists and scalars.

    Returns:
        One document, ending in a newline.

    Raises:
        yaml.YAMLError: A part of the value is of another type.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
