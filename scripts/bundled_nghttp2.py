"""Whether the installed wheel runs on the libnghttp2 it brings; scripts/build-wheel runs it."""

import importlib.metadata
import sys
from pathlib import Path

import tadka.serve.generator
import tadka.serve.transport

version = tadka.serve.transport.library_version()
if not version:
    sys.exit("The library has no version.")

package = Path(tadka.__file__).parent
lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
loaded = {line.split(maxsplit=5)[5] for line in lines if "nghttp2" in line.rpartition("/")[2]}
if not loaded:
    sys.exit("No libnghttp2 is loaded.")
for path in loaded:
    if package.parent / "tadka.libs" not in Path(path).parents:
        sys.exit(f"{path} is loaded, and not the library of the wheel.")

files = importlib.metadata.files("tadka") or []
if not any(file.name == "nghttp2.txt" for file in files):
    sys.exit("The licence of nghttp2 is not in the wheel.")
print(f"libnghttp2 {version} of the wheel is loaded", file=sys.stderr)
