"""The normal form of code that has no source: made by `exec`, typed at a prompt, or edited since.

Instructions differ from one minor version of Python to the next, so the version is part of it.
"""

import dis
import hashlib
import sys
from types import CodeType

from tadka.task.code.normal import Chain, Form

_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_NOTHING = frozenset({"RESUME", "NOP", "CACHE", "PRECALL", "PUSH_NULL", "EXTENDED_ARG"})


def bytecode_form(code: CodeType) -> Form:
    """The normal form of a code object, from its instructions."""
    words: list[str] = [f"python {sys.version_info[0]}.{sys.version_info[1]}"]
    reads: dict[Chain, None] = {}
    attributes: set[str] = set()
    free: dict[str, None] = {}
    _write(code, words, reads, attributes)
    for name in code.co_freevars:
        free[name] = None
    text = "\n".join(words).encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(text).hexdigest()
    return Form(digest, tuple(reads), free=tuple(free), attributes=frozenset(attributes))


def _write(
    code: CodeType, words: list[str], reads: dict[Chain, None], attributes: set[str]
) -> None:
    count = code.co_argcount + code.co_kwonlyargcount
    words.append(f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount}")
    words.append(f"{code.co_varnames[:count]} {code.co_flags}")
    locals_ = {name: f"local {i}" for i, name in enumerate(code.co_varnames)}
    locals_ |= {name: f"cell {i}" for i, name in enumerate((*code.co_cellvars, *code.co_freevars))}
    chain: Chain = ()
    for step in dis.get_instructions(code):
        name, value = step.opname, step.argval
        if chain and name in _ATTRIBUTES:
            chain = (*chain, value)
        elif name not in _NOTHING:
            if chain:
                reads[chain] = None
            chain = (value,) if name in _GLOBALS else ()
            if name in _ATTRIBUTES:
                attributes.add(value)
        if name in _NOTHING:
            continue
        if isinstance(value, CodeType):
            words.append(f"{name} code {value.co_name}")
            _write(value, words, reads, attributes)
        elif isinstance(value, str) and step.opcode not in dis.hasconst:
            words.append(f"{name} {locals_.get(value, value)}")
        elif isinstance(value, tuple) and step.opcode not in dis.hasconst:
            words.append(f"{name} {[locals_.get(item, item) for item in value]}")
        elif step.opcode in {*dis.hasjrel, *dis.hasjabs}:
            words.append(f"{name} {value}")
        else:
            words.append(f"{name} {_constant(value)}")
    if chain:
        reads[chain] = None


def _constant(value: object) -> str:
    if isinstance(value, frozenset):
        return f"frozenset {sorted(_constant(item) for item in value)}"
    if isinstance(value, tuple):
        return f"tuple {[_constant(item) for item in value]}"
    return f"{type(value).__name__} {value!a}"
