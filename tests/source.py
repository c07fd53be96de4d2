"""The package read as text: its rooms, modules and public lists, without importing any of it.

python -m tests.source      writes tests/public_api.txt anew
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "tadka"
PUBLIC_API = ROOT / "tests" / "public_api.txt"


def module_files() -> dict[str, Path]:
    """Dotted name of every module and package of tadka, with its file."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def rooms() -> dict[str, Path]:
    """Name of every room (subpackage of tadka) with the file of its public list."""
    return {file.parent.name: file for file in sorted(PACKAGE.glob("*/__init__.py"))}


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def public_names(init: Path) -> list[str]:
    """`__all__` of one `__init__.py`, which has to be a literal list."""
    for node in parse(init).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                assert node.value is not None
                return list(ast.literal_eval(node.value))
    return []


def public_api() -> str:
    """Every public name of tadka, one a line."""
    inits = {"tadka": PACKAGE / "__init__.py"}
    inits |= {f"tadka.{room}": init for room, init in rooms().items()}
    return "".join(
        f"{module}.{name}\n" for module, init in inits.items() for name in public_names(init)
    )


if __name__ == "__main__":
    PUBLIC_API.write_text(public_api(), encoding="utf-8")
