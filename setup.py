"""The compiled parts. Everything else about the package stands in pyproject.toml.

An extension that cannot be built (no C compiler, no Python headers) is left out, and the rooms run
on their NumPy and Python paths with equal results. The room serve links nghttp2; where its headers
are missing, servers run on grpcio: serve.transport and serve.generator are left out, and
serve.loop, which is built all the same, cannot be imported without them. TADKA_REQUIRE_NGHTTP2=1
makes that an error, for wheels that are released.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# -ffp-contract=off: a compiler that fuses a*b+c rounds once where NumPy rounds twice, and the two
# paths would differ. No -march: a wheel runs on every machine of its architecture.
COMPILE = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]


def extension(name: str, *sources: str, libraries: Sequence[str] = ()) -> Extension:
    """Module `tadka.<name>` of its .pyx file and the C sources beside it."""
    path = Path("src/tadka", *name.split("."))
    folder = path.parent
    return Extension(
        f"tadka.{name}",
        [f"{path}.pyx", *(str(folder / source) for source in sources)],
        depends=[str(header) for header in folder.rglob("*.h")],
        include_dirs=[str(folder)],
        extra_compile_args=COMPILE,
        libraries=list(libraries),
    )


EXTENSIONS = [
    extension(
        "features.native",
        "engine/value.c",
        "engine/hash.c",
        "engine/wire.c",
        "engine/program.c",
        "engine/plan.c",
    ),
    extension(
        "serve.transport",
        "engine/memory.c",
        "engine/stream.c",
        "engine/loop.c",
        "engine/http1.c",
        "engine/http2.c",
        libraries=["nghttp2"],
    ),
    extension("dataset.measure.rowhash_native"),
    extension("serve.loop", "../features/engine/hash.c"),
    extension(
        "serve.generator",
        "engine/client.c",
        "engine/client_http1.c",
        "engine/client_http2.c",
        libraries=["nghttp2"],
    ),
    extension("models.kernel.native"),
    extension("scoring.kernel"),
    extension("scoring.scorer"),
    extension("scoring.trainer"),
    extension("scoring.tree"),
]


def modules() -> list[Extension]:
    """The extensions as C; none where TADKA_BUILD_NATIVE=0 asks for a build without them."""
    if os.environ.get("TADKA_BUILD_NATIVE") == "0":
        return []
    found = cythonize(
        EXTENSIONS,
        include_path=["src"],
        build_dir="build/cython",
        compiler_directives={"language_level": "3", "embedsignature": True},
    )
    is_release = os.environ.get("TADKA_REQUIRE_NGHTTP2") == "1"
    for module in found:  # cythonize makes new objects, and forgets it
        module.optional = not (is_release and module.name.startswith("tadka.serve."))
    return found


setup(ext_modules=modules())
