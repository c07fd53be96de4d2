import pickle

import pytest

from tadka.core import error
from tadka.core.error import TadkaError, TooLate


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ConfigError", ValueError),
        ("DataError", ValueError),
        ("NotFound", LookupError),
        ("StageError", RuntimeError),
        ("LaunchError", RuntimeError),
        ("ServeError", RuntimeError),
        ("Unreachable", ConnectionError),
        ("TooLate", TimeoutError),
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


def test_an_error_of_a_server_keeps_its_status_on_its_way_to_another_process() -> None:
    arrived = pickle.loads(pickle.dumps(TooLate("No answer.", "DEADLINE_EXCEEDED")))

    assert "No answer." == str(arrived)
    assert "DEADLINE_EXCEEDED" == arrived.status
