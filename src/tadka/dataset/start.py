"""An engine that starts in a thread of its own, while something else is done."""

import threading
from contextlib import suppress

from tadka.core.error import TadkaError
from tadka.dataset.engine.engine import Engine


class Start:
    """The start of an engine, from which one can turn away at any moment.

    Args:
        engine: Not started yet.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._error: BaseException | None = None
        self._is_abandoned = False
        # a daemon: who presses Ctrl-C twice does not wait for Java
        self._thread = threading.Thread(target=self._run, name="tadka-engine", daemon=True)

    def begin(self) -> None:
        """Starts the engine; returns at once."""
        self._thread.start()

    @property
    def has_failed(self) -> bool:
        """Whether the start has failed already, and not because nobody needs it any more."""
        return self._error is not None and not self._is_abandoned

    def wait(self) -> None:
        """Returns when the engine runs.

        Raises:
            TadkaError: It cannot be started; or whatever else it raised.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def interrupt(self) -> None:
        """Tells the engine that nobody needs it any more; returns at once."""
        self._is_abandoned = True
        self._engine.interrupt()

    def end(self) -> None:
        """Stops the engine, whether it has started, failed to, or still tries; leaves nothing."""
        if self._thread.ident is None:
            return
        if self._thread.is_alive():
            self.interrupt()
        self._thread.join()
        if self._is_abandoned or self._error is not None:
            with suppress(TadkaError):  # what stops it half-way is not the news
                self._engine.stop()
        else:
            self._engine.stop()

    def _run(self) -> None:
        try:
            self._engine.start()
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self._error = error
