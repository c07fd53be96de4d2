"""The house: who may import what, what `import tadka` costs, and what is public.

The direction of imports between rooms is import-linter's to check (make check).
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import source
from tests.forks import Forks

MODULES = source.module_files()
PACKAGES = {name for name, file in MODULES.items() if file.name == "__init__.py"}
ROOMS = source.rooms()

# Import name of every library that only an extra brings.
OF_EXTRAS = {"PIL", "mpi4py", "polars", "pyarrow", "s3fs", "torch", "zmq"}
# A room that is nothing without its extra may import it at the top; scripts/bare_install.py then
# wants MissingExtra from importing that room.
OWN_EXTRA = {
    "demo": {"pyarrow", "zmq"},
    "models": {"pyarrow", "zmq"},
    "stream": {"pyarrow", "zmq"},
    "testing": {"pyarrow", "torch", "zmq"},
}
# In the room of models those of nets may import torch, too; all else does without.
OF_TORCH = ("library", "loss", "net", "table", "train.keeper", "train.torch")
HEAVY = {"kubernetes", "pandas", "pyspark", "ray", "sqlalchemy", "torch"}
HOME_OF_OPTIONAL_IMPORTS = "tadka.core.extra"


def own_extra(module: str) -> set[str]:
    own = OWN_EXTRA.get(module.split(".")[1], set()) if "." in module else set()
    has_nets = module.startswith(tuple(f"tadka.models.{name}" for name in OF_TORCH))
    return own | {"torch"} if has_nets else own


def loaded_by(statement: str) -> set[str]:
    """Names in sys.modules after `statement` ran in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        # -c puts the working directory first on sys.path; an import must not depend on it.
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    )
    assert done.returncode == 0, f"{statement!r} fails in a fresh interpreter:\n{done.stderr}"
    return set(done.stdout.split())


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports(
    node: ast.AST, *, in_function: bool = False, in_type_checking: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    """Imports below `node`: (statement, is it in a function, is it under `if TYPE_CHECKING`)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, in_function, in_type_checking
            continue
        function = in_function or isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        )
        if isinstance(child, ast.If) and is_type_checking(child.test):
            for statement in child.body:
                # A module of one, so that an import directly in the body is seen as a child.
                holder = ast.Module(body=[statement], type_ignores=[])
                yield from imports(holder, in_function=function, in_type_checking=True)
            holder = ast.Module(body=child.orelse, type_ignores=[])
            yield from imports(holder, in_function=function, in_type_checking=in_type_checking)
            continue
        yield from imports(child, in_function=function, in_type_checking=in_type_checking)


def imported_modules(statement: ast.Import | ast.ImportFrom) -> list[str]:
    """The dotted modules or names an import statement takes."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    prefix = "." * statement.level + (statement.module or "")
    return [f"{prefix}.{alias.name}" for alias in statement.names]


# ---------------------------------------------------------------- imports


def test_import_tadka_loads_no_room_and_no_other_library() -> None:
    plain = loaded_by("pass")

    added = {name.split(".")[0] for name in loaded_by("import tadka") - plain}

    assert {"tadka"} == added
    assert not [name for name in loaded_by("import tadka") if name.startswith("tadka.")]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """Interpreters that have loaded what every room may import, and nothing of ours."""
    made = Forks("import cloudpickle, fsspec, numpy, pydantic, rich, typer, yaml")
    yield made
    made.close()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_module_can_be_imported_alone_and_first(name: str, forks: Forks, tmp_path: Path) -> None:
    code = f"import sys\nassert 'tadka' not in sys.modules\nimport {name}\nprint(*sys.modules)"
    done = forks.run(code, tmp_path)

    assert 0 == done.returncode, done.stderr
    loaded = {module.split(".")[0] for module in done.stdout.split()}
    unwanted = (HEAVY | OF_EXTRAS) - own_extra(name)
    assert {"tadka"} <= loaded
    assert not loaded & unwanted, f"importing {name} loads {sorted(loaded & unwanted)}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_module_imports_the_module_that_defines_a_name(name: str) -> None:
    """Never a package of ours: its `__init__` may be half-loaded, and so import cycles begin."""
    parents = {name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)}
    faults = []
    for statement, _, _ in imports(source.parse(MODULES[name])):
        if isinstance(statement, ast.Import):
            packages = [alias.name for alias in statement.names if alias.name in PACKAGES]
        elif statement.level:
            packages = ["." * statement.level + (statement.module or "")]
        elif statement.module in parents | {name}:
            packages = [statement.module]
        else:
            # `from tadka.core import hashing` is fine: hashing is the module itself.
            packages = [
                statement.module or ""
                for alias in statement.names
                if statement.module in PACKAGES
                and f"{statement.module}.{alias.name}" not in MODULES
            ]
        faults += [f"line {statement.lineno}: {package}" for package in packages]

    assert [] == faults, (
        f"{name} takes names from these packages; import the modules that define them"
    )


@pytest.mark.parametrize("name", sorted(set(MODULES) - {HOME_OF_OPTIONAL_IMPORTS}))
def test_module_hides_no_import_and_reaches_extras_through_require(name: str) -> None:
    tree = source.parse(MODULES[name])
    faults = []
    for statement, in_function, in_type_checking in imports(tree):
        taken = imported_modules(statement)
        if in_function:
            faults.append(
                f"line {statement.lineno}: import of {', '.join(taken)} inside a function"
            )
        optional = sorted({module.split(".")[0] for module in taken} & OF_EXTRAS - own_extra(name))
        if optional and not in_type_checking:
            faults.append(
                f"line {statement.lineno}: {optional[0]} is an extra; use tadka.core.extra.require"
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in {"__import__", "import_module", "importlib.import_module"}:
                faults.append(f"line {node.lineno}: {called}(...); use tadka.core.extra.require")

    assert [] == faults, f"{name} has imports that make check cannot see"


# ---------------------------------------------------------------- public lists


def is_on_demand(node: ast.stmt, package: str) -> bool:
    """Imports for type checkers, and the same by tadka.core.extra.on_demand for the program."""
    match node:
        case ast.If(
            test=test,
            body=body,
            orelse=[ast.Assign(targets=[target], value=ast.Call(args=[name, homes]) as call)],
        ):
            typed = {
                (alias.name, statement.module)
                for statement in body
                if isinstance(statement, ast.ImportFrom)
                for alias in statement.names
            }
            found = {
                (public, f"{package}.{home}")
                for home, publics in ast.literal_eval(homes).items()
                for public in publics
            }
            said = [ast.unparse(part) for part in (test, target, call.func, name)]
            return typed == found and said == [
                "TYPE_CHECKING",
                "(__getattr__, __dir__)",
                "on_demand",
                "__name__",
            ]
    return False


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_room_init_is_its_public_list_and_nothing_else(room: str) -> None:
    names = source.public_names(ROOMS[room])
    others = []
    for node in source.parse(ROOMS[room]).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_list = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        is_import = isinstance(node, ast.ImportFrom) or is_on_demand(node, f"tadka.{room}")
        if not (is_docstring or is_list or is_import):
            others.append(ast.unparse(node).splitlines()[0])

    assert [] == others
    assert sorted(names) == names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("room", sorted(set(ROOMS) - OWN_EXTRA.keys()))
def test_every_public_name_is_there(room: str) -> None:
    names = source.public_names(ROOMS[room])
    code = f"from tadka.{room} import *\nimport tadka.{room}\n"
    code += f"assert set({names!r}) <= set(dir(tadka.{room})) & set(dir())"

    loaded_by(code)


def test_public_api_equals_the_committed_list() -> None:
    committed = source.PUBLIC_API.read_text(encoding="utf-8")

    assert committed.splitlines() == source.public_api().splitlines(), (
        "The public names changed. If that is meant, run `.venv/bin/python -m tests.source` "
        "and say so in CHANGELOG.md."
    )
