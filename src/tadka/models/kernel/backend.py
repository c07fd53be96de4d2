"""Which loops run: the compiled ones or NumPy's. Both give equal results."""

from typing import Any

from tadka.core.native import use_native
from tadka.models.kernel import reference

try:
    from tadka.models.kernel import native
except ImportError:  # built without a compiler
    native = None  # type: ignore[assignment]


def kernels() -> Any:
    """The module whose functions are described in `reference`."""
    return native if use_native(native) else reference
