import pytest

from tadka.core import error
from tadka.core.error import TadkaError


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ConfigError", ValueError),
        ("DataError", ValueError),
        ("NotFound", LookupError),
        ("StageError", RuntimeError),
        ("LaunchError", RuntimeError),
        ("MissingExtra", ImportError),
    ],
)
def test_each_error_is_a_tadka_error_and_the_builtin_a_caller_expects(
    name: str, builtin: type[Exception]
) -> None:
    kind = getattr(error, name)

    assert issubclass(kind, TadkaError)
    assert issubclass(kind, builtin)
    assert kind.__doc__
    assert name in (error.__doc__ or "")
