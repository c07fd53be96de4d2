import warnings

import pytest

from tadka.core import native
from tadka.core.native import use_native


@pytest.fixture(autouse=True)
def _unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TADKA_NATIVE", raising=False)
    native._warn.cache_clear()


def test_a_module_that_is_there_is_used_without_a_word() -> None:
    assert use_native(native)


def test_a_missing_module_is_told_once_for_all_rooms() -> None:
    with pytest.warns(RuntimeWarning, match="compiled parts of tadka are not installed"):
        assert not use_native(None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not use_native(None)


def test_the_environment_turns_it_off_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADKA_NATIVE", "0")

    assert not use_native(native)
    assert not use_native(None)
