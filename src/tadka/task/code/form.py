"""The normal forms of functions and classes that live, each made once."""

from types import CodeType, FunctionType
from weakref import WeakKeyDictionary

from tadka.task.code.bytecode import bytecode_form
from tadka.task.code.normal import ClassForm, Form, class_form, function_form
from tadka.task.code.source import class_node, deep_recursion, function_node

_forms: dict[int, tuple[CodeType, Form]] = {}  # the code is kept, so that its id stays its own
_class_forms: "WeakKeyDictionary[type, ClassForm | None]" = WeakKeyDictionary()


def form_of_function(function: FunctionType) -> Form:
    """The normal form of a function: from its source, or else from its instructions.

    A reloaded module or notebook cell has new code objects, so it is read again; a file that was
    only edited is not.
    """
    code = function.__code__
    known = _forms.get(id(code))
    if known is None:
        node = function_node(function)
        with deep_recursion():
            form = function_form(node, code.co_freevars) if node else bytecode_form(code)
        known = _forms[id(code)] = (code, form)
    return known[1]


def form_of_class(cls: type) -> ClassForm | None:
    """The normal form of a class, None where it has no source."""
    if cls not in _class_forms:
        node = class_node(cls)
        _class_forms[cls] = class_form(node) if node else None
    return _class_forms[cls]
