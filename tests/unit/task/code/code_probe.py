"""Run by test_digest.py in its own process: the code hash of packages, each freshly imported.

Reads from stdin a JSON list of `[folder, "module:Class", keyword arguments]`, writes a JSON list of
`{"digest", "parts", "opaque"}`. Runs without numpy, too, on interpreters that have no libraries.
"""

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path


def pretend_libraries(source: Path) -> None:
    """Just enough for tadka.core.hashing, where numpy and the rest are not installed."""
    core = types.ModuleType("tadka.core")
    core.__path__ = [str(source / "tadka" / "core")]
    numpy = types.ModuleType("numpy")
    nothing = type("nothing", (), {})
    numpy.__dict__.update(generic=nothing, ndarray=nothing)
    sys.modules.update({"tadka.core": core, "numpy": numpy})


def main() -> None:
    source = Path(sys.argv[1])
    sys.path.insert(0, str(source))
    sys.dont_write_bytecode = True
    if any(importlib.util.find_spec(name) is None for name in ("numpy", "pydantic", "rich")):
        pretend_libraries(source)
    from tadka.task.code.digest import code_of

    before = set(sys.modules)
    found = []
    for folder, name, arguments in json.load(sys.stdin):
        for loaded in set(sys.modules) - before:
            file = getattr(sys.modules[loaded], "__file__", None) or ""
            if not file or "/variants/" in file:
                del sys.modules[loaded]
        importlib.invalidate_caches()
        sys.path.insert(0, folder)
        module, _, class_name = name.partition(":")
        try:
            made = code_of(getattr(importlib.import_module(module), class_name), **arguments)
        finally:
            sys.path.remove(folder)
        row = {"digest": made.digest, "parts": dict(made.parts), "opaque": list(made.opaque)}
        found.append(row)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
