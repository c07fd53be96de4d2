"""Which loops run: the compiled ones or NumPy's. Both give equal results."""

from typing import Any

import tadka.models.kernel.reference as reference
from tadka.core.native import use_native

try:
    import tadka.models.kernel.native as native
except ImportError:  # built without a compiler
    native = None  # type: ignore[assignment]


def has_native() -> bool:
    """Whether the compiled loops are used; `native.absent` has no other form."""
    return use_native(native)


def kernels() -> Any:
    """The module whose functions are described in `reference`."""
    return native if has_native() else reference
