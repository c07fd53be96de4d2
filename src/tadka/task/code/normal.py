"""The normal form of code: what is left when the spelling is taken away.

Positions, comments, docstrings and annotations are gone, locals are numbered in the order in which
they appear, and names from outside are listed, so that a walk can look up what they stand for.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tadka.task.code.source import FunctionNode, bound_by, changed_by, top_level

# What could tell how a local is called; a function that reads one of these keeps its names.
_SEES_NAMES = frozenset({"locals", "eval", "exec", "vars", "dir"})
_SPELLING = frozenset({"ctx", "kind", "type_comment", "type_params"})
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

Chain = tuple[str, ...]


@dataclass(frozen=True)
class Import:
    """What a function takes from a module that it imports itself: `chain` of that module."""

    module: str
    level: int
    chain: Chain


@dataclass(frozen=True)
class Form:
    """The normal form of a piece of code.

    Args:
        digest: Of the code itself.
        reads: Global names, each with the attributes taken from it: `np.linalg.norm`.
        imports: What it imports when it runs, likewise.
        free: The variables of a closure, in the order in which they appear.
        notes: The annotations of a function's arguments and result, which the digest leaves out.
        decorators: The names of its decorators, without their arguments.
        changed: Names of globals and of its closure whose value a function changes.
        attributes: The names of all attributes that it takes from values that are no globals.
    """

    digest: str
    reads: tuple[Chain, ...] = ()
    imports: tuple[Import, ...] = ()
    free: tuple[str, ...] = ()
    notes: "Form | None" = None
    decorators: tuple[Chain, ...] = ()
    changed: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ClassForm:
    """The normal form of a class: its methods and values are looked up, not read here.

    Args:
        header: Decorators, bases and keywords; annotations of the body as its notes.
        names: What the body binds or declares; the declared ones keep their order.
        declared: Names with an annotation, in order: fields of a dataclass.
        values: The statements that bind a name, but for functions and classes without decorator.
    """

    header: Form
    names: tuple[str, ...]
    declared: tuple[str, ...]
    values: dict[str, Form]


def function_form(node: FunctionNode, free: Iterable[str] = ()) -> Form:
    """The normal form of a function, whose own name does not count.

    Args:
        node: Its definition.
        free: The variables that its code has from enclosing functions.
    """
    writer = _Writer(free, keeps_names=_sees_names(node))
    writer.function(node)
    form = writer.form()
    from_outside = {chain[0] for chain in form.reads}.union(form.free, writer.written)
    return replace(
        form,
        notes=_annotations(node),
        decorators=_decorators(getattr(node, "decorator_list", [])),
        changed=changed_by(node) & from_outside,
    )


def class_form(node: ast.ClassDef) -> ClassForm:
    """The normal form of a class."""
    statements: dict[str, list[ast.stmt]] = {}
    names: dict[str, None] = {}
    declared: dict[str, None] = {}
    annotations: list[ast.AST] = []
    for statement in top_level(ast.Module(body=node.body, type_ignores=[])):
        bound = bound_by(statement)
        names.update(dict.fromkeys(bound))
        if isinstance(statement, ast.AnnAssign):
            declared.update(dict.fromkeys(bound))
            annotations.append(statement.annotation)
        is_bare = isinstance(statement, ast.AnnAssign) and statement.value is None
        is_plain = isinstance(statement, (*_FUNCTIONS, ast.ClassDef)) and not getattr(
            statement, "decorator_list", None
        )
        if not is_bare and not is_plain:
            for name in bound:
                statements.setdefault(name, []).append(statement)
    return ClassForm(
        replace(
            form_of([*node.decorator_list, *node.bases, *node.keywords]),
            notes=form_of(annotations),
            decorators=_decorators(node.decorator_list),
        ),
        tuple(names),
        tuple(declared),
        {name: form_of(binding) for name, binding in statements.items()},
    )


def form_of(nodes: Sequence[ast.AST]) -> Form:
    """The normal form of statements or expressions of a module or class body."""
    writer = _Writer((), keeps_names=True)
    writer.many(nodes)
    return writer.form()


def _annotations(node: FunctionNode) -> Form:
    arguments = [item for item in ast.walk(node.args) if isinstance(item, ast.arg)]
    found = [item.annotation for item in arguments]
    found.append(None if isinstance(node, ast.Lambda) else node.returns)
    return form_of([item for item in found if item is not None])


def _decorators(nodes: list[ast.expr]) -> tuple[Chain, ...]:
    found = []
    for node in nodes:
        base: ast.expr = node.func if isinstance(node, ast.Call) else node
        attributes = []
        while isinstance(base, ast.Attribute):
            attributes.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            found.append((base.id, *reversed(attributes)))
    return tuple(found)


def _sees_names(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Name) and n.id in _SEES_NAMES for n in ast.walk(node))


# ---------------------------------------------------------------- scopes


@dataclass
class _Scope:
    """The names of one function, class or comprehension."""

    kind: str
    names: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)  # arguments are called by name
    outer: set[str] = field(default_factory=set)  # declared global
    imported: dict[str, Import] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)


def _scope_of(node: ast.AST) -> _Scope:
    scope = _Scope("class" if isinstance(node, ast.ClassDef) else "function")
    if isinstance(node, _FUNCTIONS):
        given = node.args
        listed = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        arguments = {item.arg for item in listed if item}  # not those of a lambda in a default
        scope.names |= arguments
        scope.kept |= arguments
    body = node.body if isinstance(node.body, list) else [node.body]  # type: ignore[attr-defined]
    elsewhere: set[str] = set()
    for item in _own(body):
        if isinstance(item, ast.Global):
            scope.outer.update(item.names)
        elif isinstance(item, ast.Nonlocal):
            elsewhere.update(item.names)
        elif isinstance(item, ast.Import | ast.ImportFrom):
            scope.imported.update(imports_of(item))
            scope.names.update(bound_by(item))
        else:
            scope.names.update(_binds(item))
    scope.names -= scope.outer | elsewhere
    return scope


def _own(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes that belong to a scope; of an inner scope the definition alone, and `:=`."""
    for node in nodes:
        yield node
        if isinstance(node, _FUNCTIONS):
            outside = [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]
            yield from _own([*outside, *getattr(node, "decorator_list", [])])
        elif isinstance(node, ast.ClassDef):
            yield from _own([*node.decorator_list, *node.bases, *node.keywords])
        elif isinstance(node, _COMPREHENSIONS):
            yield from _walruses(node)
        else:
            yield from _own(ast.iter_child_nodes(node))


def _walruses(node: ast.AST) -> Iterator[ast.AST]:
    return (item.target for item in ast.walk(node) if isinstance(item, ast.NamedExpr))


def _binds(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return [node.name] if node.name else []
    if isinstance(node, ast.MatchMapping):
        return [node.rest] if node.rest else []
    return []


def imports_of(node: ast.Import | ast.ImportFrom) -> dict[str, Import]:
    """What each name that an import statement binds stands for."""
    found = {}
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            made = Import(node.module or "", node.level, (alias.name,))
            found[alias.asname or alias.name] = made
        elif alias.asname:
            found[alias.asname] = Import(alias.name, 0, ())
        else:
            top = alias.name.partition(".")[0]
            found[top] = Import(top, 0, ())
    return found


# ---------------------------------------------------------------- writing


class _Writer:
    """Writes nodes as words, so that no two different trees give the same.

    Texts in ASCII: which letters `repr` escapes differs between versions of Python.
    """

    def __init__(self, free: Iterable[str], *, keeps_names: bool) -> None:
        self._words: list[str] = []
        self._free_names = frozenset(free)
        self._keeps_names = keeps_names
        self._scopes: list[_Scope] = []
        self._num_locals = 0
        self._reads: dict[Chain, None] = {}
        self._imports: dict[Import, None] = {}
        self._attributes: set[str] = set()
        self._free: dict[str, int] = {}
        self.written: set[str] = set()  # globals that are given a value

    def form(self) -> Form:
        digest = hashlib.sha256("\n".join(self._words).encode("utf-8", "surrogatepass"))
        missing = tuple(sorted(self._free_names - self._free.keys()))  # such as __class__
        free = (*self._free, *missing)
        return Form(
            digest.hexdigest(),
            tuple(self._reads),
            tuple(self._imports),
            free,
            attributes=frozenset(self._attributes),
        )

    def many(self, nodes: Iterable[ast.AST]) -> None:
        self._words.append("[")
        for node in nodes:
            if not self._is_empty(node):
                self.node(node)
        self._words.append("]")

    def node(self, node: ast.AST) -> None:
        if isinstance(node, _FUNCTIONS):
            if not isinstance(node, ast.Lambda):
                self._words += [f"def {node.name}", self._name(node.name)]
            self.function(node)
        elif isinstance(node, ast.ClassDef):
            self._class(node)
        elif isinstance(node, _COMPREHENSIONS):
            self._comprehension(node)
        elif isinstance(node, ast.Name):
            self._words.append(self._name(node.id, is_read=isinstance(node.ctx, ast.Load)))
        elif isinstance(node, ast.Attribute):
            self._attribute(node)
        elif isinstance(node, ast.Constant):
            self._words.append(f"{type(node.value).__name__} {node.value!a}")
        elif isinstance(node, ast.JoinedStr):
            self._joined(node)
        elif isinstance(node, ast.AnnAssign):
            self._annotated(node)
        elif isinstance(node, ast.Set):
            self._set(node)
        else:
            self._fields(node)

    def function(self, node: FunctionNode) -> None:
        """A function without its name: decorators and defaults belong to the scope around it."""
        arguments = node.args
        self._words.append(type(node).__name__)
        self.many(getattr(node, "decorator_list", ()))
        self.many(arguments.defaults)
        self.many(default or ast.Constant(value=...) for default in arguments.kw_defaults)
        self._words.append(str([default is not None for default in arguments.kw_defaults]))
        for kind in ("posonlyargs", "args", "kwonlyargs"):
            self._words.append(f"{kind} {[item.arg for item in getattr(arguments, kind)]}")
        for item in (arguments.vararg, arguments.kwarg):
            self._words.append(item.arg if item else "-")
        self._scopes.append(_scope_of(node))
        if isinstance(node, ast.Lambda):
            self.node(node.body)
        else:
            self._block(node.body)
        self._scopes.pop()

    def _class(self, node: ast.ClassDef) -> None:
        self._words += [f"class {node.name}", self._name(node.name)]
        self.many([*node.decorator_list, *node.bases, *node.keywords])
        self._scopes.append(_scope_of(node))
        self._block(node.body)
        self._scopes.pop()

    def _comprehension(self, node: ast.AST) -> None:
        first, *others = node.generators  # type: ignore[attr-defined]
        self._words.append(type(node).__name__)
        self.node(first.iter)  # runs in the scope around
        scope = _Scope("function")
        for generator in (first, *others):
            for item in ast.walk(generator.target):
                scope.names.update(_binds(item))
        self._scopes.append(scope)
        self._words.append("for")
        self.node(first.target)
        self.many(first.ifs)
        self._words.append(str(first.is_async))
        self.many(others)
        for name in ("elt", "key", "value"):
            if hasattr(node, name):
                self.node(getattr(node, name))
        self._scopes.pop()

    def _attribute(self, node: ast.Attribute) -> None:
        chain: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            chain.append(base.attr)
            base = base.value
        chain.reverse()
        if isinstance(base, ast.Name):
            word = self._name(base.id, tuple(chain), is_read=True)
            self._words.append(word)
            if not word.startswith("global "):
                self._attributes.update(chain)
        else:
            self.node(base)
            self._attributes.update(chain)
        self._words.append("." + ".".join(chain))

    def _annotated(self, node: ast.AnnAssign) -> None:
        """As if it had no annotation; in a class a name without value may be a field."""
        if node.value is None:
            self._words.append("declared")
            self.node(node.target)
        else:
            self._fields(ast.Assign(targets=[node.target], value=node.value))

    def _joined(self, node: ast.JoinedStr) -> None:
        """Python 3.12 cuts the text between the braces elsewhere than 3.11 did."""
        text = ""
        self._words.append("f-string [")
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
                continue
            self._words.append(ascii(text))
            text = ""
            self._fields(part)
        self._words += [ascii(text), "]"]

    def _set(self, node: ast.Set) -> None:
        if all(isinstance(item, ast.Constant) for item in node.elts):
            values = [f"{type(i.value).__name__} {i.value!a}" for i in node.elts]  # type: ignore[attr-defined]
            self._words.append(f"set {sorted(values)}")
        else:
            self._fields(node)

    def _fields(self, node: ast.AST) -> None:
        self._words.append(type(node).__name__ + "(")
        for name in node._fields:
            value = getattr(node, name, None)
            if name in _SPELLING or value is None or value == []:
                continue
            self._words.append(name)
            if isinstance(value, ast.AST):
                self.node(value)
            elif isinstance(value, list) and isinstance(value[0], ast.stmt):
                self._block(value)
            elif isinstance(value, list) and not isinstance(value[0], str):
                self.many(item or ast.Constant(value=...) for item in value)
                self._words.append(str([item is None for item in value]))  # {**other}
            else:
                self._text(node, name, value)
        self._words.append(")")

    def _text(self, node: ast.AST, name: str, value: object) -> None:
        is_binding = (name, type(node)) in {
            ("name", ast.ExceptHandler),
            ("name", ast.MatchAs),
            ("name", ast.MatchStar),
            ("rest", ast.MatchMapping),
        }
        self._words.append(self._name(str(value)) if is_binding else ascii(value))

    def _block(self, nodes: list[ast.stmt]) -> None:
        self._words.append("{")
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif not self._is_empty(node):
                self.node(node)
        self._words.append("}")

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        origin = "." * getattr(node, "level", 0) + (getattr(node, "module", "") or "")
        for alias, name in zip(node.names, bound_by(node), strict=True):
            self._words.append(f"import {origin} {alias.name} {bool(alias.asname)}")
            self._words.append(self._name(name))

    def _is_empty(self, node: ast.AST) -> bool:
        """Whether a statement does nothing: `pass`, a docstring, an annotation of a local."""
        if isinstance(node, ast.Expr):
            return isinstance(node.value, ast.Constant)
        if isinstance(node, ast.AnnAssign) and node.value is None:
            return bool(self._scopes) and self._scopes[-1].kind == "function"
        return isinstance(node, ast.Pass | ast.Global | ast.Nonlocal) or (
            type(node).__name__ == "TypeAlias"
        )

    def _name(self, name: str, chain: Chain = (), *, is_read: bool = False) -> str:
        """The word for a name: a number for a local, and a note of what is read from outside."""
        for depth, scope in enumerate(reversed(self._scopes)):
            if scope.kind == "class" and depth > 0:
                continue  # functions of a class do not see its names
            if name in scope.outer:
                break
            if name not in scope.names:
                continue
            if is_read and name in scope.imported:
                wanted = scope.imported[name]
                self._imports[Import(wanted.module, wanted.level, wanted.chain + chain)] = None
            if scope.kind == "class":
                if is_read:
                    self._reads[name, *chain] = None  # `limit = limit` reads the module's
                return f"class {name}"
            if self._keeps_names or name in scope.kept:
                return f"local {name}"
            if name not in scope.numbers:
                scope.numbers[name] = self._num_locals
                self._num_locals += 1
            return f"local {scope.numbers[name]}"
        else:
            if name in self._free_names:
                return f"free {self._free.setdefault(name, len(self._free))}"
        if is_read:
            self._reads[name, *chain] = None
        else:
            self.written.add(name)
        return f"global {name}"
