import ast
import textwrap

import pytest

from tadka.task.code.normal import Form, Import, function_form


def form(text: str, free: tuple[str, ...] = ()) -> Form:
    """The normal form of the last function of a text."""
    tree = ast.parse(textwrap.dedent(text))
    node = tree.body[-1]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return function_form(node, free)


SAME = {
    "local": ("def f(x):\n y = x\n return y", "def f(x):\n z = x\n return z"),
    "function's name": ("def f(x): return x", "def g(x): return x"),
    "docstring": ("def f():\n 'a'\n return 1", "def f(): return 1"),
    "only a docstring": ("def f(): 'a'", "def f(): pass"),
    "ellipsis": ("def f(): ...", "def f(): pass"),
    "annotations": ("def f(x: int) -> str: return x", "def f(x): return x"),
    "annotated local": ("def f():\n y: int = 1\n return y", "def f():\n y = 1\n return y"),
    "declared local": ("def f():\n y: int\n y = 1\n return y", "def f():\n y = 1\n return y"),
    "annotated attribute": ("def f(x): x.y: int = 1", "def f(x): x.y = 1"),
    "loop": ("def f(a):\n for i in a: print(i)", "def f(a):\n for j in a: print(j)"),
    "with": (
        "def f():\n with open('a') as g: return g",
        "def f():\n with open('a') as h: return h",
    ),
    "except": (
        "def f():\n try: pass\n except E as e: return e",
        "def f():\n try: pass\n except E as x: return x",
    ),
    "import": ("def f():\n import a.b as c\n c()", "def f():\n import a.b as d\n d()"),
    "from import": (
        "def f():\n from a import b as c\n c()",
        "def f():\n from a import b as d\n d()",
    ),
    "comprehension": ("def f(a): return [i for i in a]", "def f(a): return [j for j in a]"),
    "nested comprehension": (
        "def f(a): return {i: j for i in a for j in i if j}",
        "def f(a): return {k: l for k in a for l in k if l}",
    ),
    "walrus": (
        "def f(a): return [y for x in a if (y := x)], y",
        "def f(a): return [z for x in a if (z := x)], z",
    ),
    "match": (
        "def f(a):\n match a:\n  case [b, *c] | {'k': b, **c}: return b, c",
        "def f(a):\n match a:\n  case [d, *e] | {'k': d, **e}: return d, e",
    ),
    "match as": (
        "def f(a):\n match a:\n  case int() as b: return b",
        "def f(a):\n match a:\n  case int() as c: return c",
    ),
    "nested function's local": (
        "def f():\n y = 1\n def g():\n  z = y\n  return z\n return g",
        "def f():\n a = 1\n def g():\n  b = a\n  return b\n return g",
    ),
    "nonlocal": (
        "def f():\n y = 1\n def g():\n  nonlocal y\n  y += 1\n return g",
        "def f():\n z = 1\n def g():\n  nonlocal z\n  z += 1\n return g",
    ),
    "unpacking": ("def f(a):\n (b, *c), d = a\n return c", "def f(a):\n (x, *y), z = a\n return y"),
    "delete": ("def f():\n a = 1\n del a", "def f():\n b = 1\n del b"),
    "order of a set": ("def f(x): return x in {1, 'b'}", "def f(x): return x in {'b', 1}"),
    "spelling": ("def f(x): return (x + 0x10)", "def f(x):\n    return x+16 # same"),
    "f-string in pieces": ("def f(x): return f'a{x}' 'b'", "def f(x): return f'a{x}b'"),
    "async": (
        "async def f(a):\n async with a as b: return [c async for c in b]",
        "async def f(a):\n async with a as d: return [e async for e in d]",
    ),
}
OTHER = {
    "argument": ("def f(x): return x", "def f(y): return y"),
    "keyword only": ("def f(x, y): pass", "def f(x, *, y): pass"),
    "positional only": ("def f(x, y): pass", "def f(x, /, y): pass"),
    "default": ("def f(x=1): pass", "def f(x=2): pass"),
    "default of another": ("def f(*, x=1, y): pass", "def f(*, x, y=1): pass"),
    "star": ("def f(*x): pass", "def f(**x): pass"),
    "type of a number": ("def f(): return 1", "def f(): return 1.0"),
    "bool and number": ("def f(): return 1", "def f(): return True"),
    "bytes": ("def f(): return 'a'", "def f(): return b'a'"),
    "global and local": ("def f():\n y = 1\n return y", "def f():\n global y\n y = 1\n return y"),
    "which local": (
        "def f():\n a = 1\n b = 2\n return a",
        "def f():\n a = 1\n b = 2\n return b",
    ),
    "which scope": (
        "def f():\n y = 1\n def g():\n  y = 2\n return y",
        "def f():\n y = 1\n def g():\n  nonlocal y\n  y = 2\n return y",
    ),
    "name of a nested function": ("def f():\n def g(): pass", "def f():\n def h(): pass"),
    "attribute": ("def f(x): return x.a", "def f(x): return x.b"),
    "field of a nested class": ("def f():\n class A:\n  x: int", "def f():\n class A: pass"),
    "name in a nested class": ("def f():\n class A:\n  x = 1", "def f():\n class A:\n  y = 1"),
    "order of calls in a set": ("def f(): return {a(), b()}", "def f(): return {b(), a()}"),
    "operator": ("def f(x): return x + 1", "def f(x): return x - 1"),
    "body of if and else": (
        "def f(x):\n if x: pass\n else: return 1",
        "def f(x):\n if x: return 1",
    ),
    "async or not": ("def f(): pass", "async def f(): pass"),
    "f-string": ("def f(x): return f'{x!r}'", "def f(x): return f'{x!s}'"),
    "f-string that shows a name": (
        "def f():\n a = 1\n return f'{a=}'",
        "def f():\n b = 1\n return f'{b=}'",
    ),
    "width in an f-string": ("def f(x): return f'{x:>{3}}'", "def f(x): return f'{x:>{4}}'"),
    "locals called": (
        "def f():\n a = 1\n return locals()",
        "def f():\n b = 1\n return locals()",
    ),
    "eval called": (
        "def f():\n a = 1\n return eval('a')",
        "def f():\n b = 1\n return eval('a')",
    ),
    "imported name": ("def f():\n from a import b", "def f():\n from a import c as b"),
    "imported level": ("def f():\n from .a import b", "def f():\n from ..a import b"),
    "keyword": ("def f(x): return x(a=1)", "def f(x): return x(b=1)"),
    "dict unpacking": ("def f(x): return {**x}", "def f(x): return {...: x}"),
    "text and structure": ("def f(): return '1', '2'", "def f(): return \"1', '2\""),
    "case None": (
        "def f(a):\n match a:\n  case None: return 1",
        "def f(a):\n match a:\n  case True: return 1",
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_spelling_does_not_count(one: str, other: str) -> None:
    assert form(one).digest == form(other).digest


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_meaning_counts(one: str, other: str) -> None:
    assert form(one).digest != form(other).digest


def test_names_from_outside_are_listed_with_their_attributes() -> None:
    found = form("""
        @deco(RATE)
        def f(x, y=DEFAULT) -> Result:
            def inner(x=a.b.c): return x.d + other
            total = np.linalg.norm(x)
            class Local(Base):
                limit = limit
            return [total for x in ROWS if x.keep]
    """)

    assert {
        *{("deco",), ("RATE",), ("DEFAULT",), ("a", "b", "c"), ("other",)},
        *{("np", "linalg", "norm"), ("Base",), ("limit",), ("ROWS",)},
    } == set(found.reads)
    assert found.notes is not None
    assert (("Result",),) == found.notes.reads
    assert (("deco",),) == found.decorators


def test_variables_of_a_closure_are_listed_as_they_appear() -> None:
    one = form("def f(x): return b + a + x", free=("a", "b", "__class__"))
    other = form("def f(x): return z + y + x", free=("y", "z", "__class__"))

    assert ("b", "a", "__class__") == one.free
    assert ("z", "y", "__class__") == other.free
    assert one.digest == other.digest
    assert () == one.reads


def test_what_a_function_imports_is_listed_as_it_is_used() -> None:
    found = form("""
        def f():
            import a.b
            import c.d as e
            from . import g as h
            from ..i import j, unused
            return a.b.x, e.y.z, h.k(), j
    """)

    assert {
        Import("a", 0, ("b", "x")),
        Import("c.d", 0, ("y", "z")),
        Import("", 1, ("g", "k")),
        Import("i", 2, ("j",)),
    } == set(found.imports)
    assert () == found.reads
