"""What one worker serves: models in memory, swapped for others between two requests.

A worker compares one mapped word with the one it saw last. Where it differs, the worker reads
state.json once. Versions that are in memory already, as after a rollback, are swapped in at once,
without opening a file; others are loaded and tried by a thread of low priority first, while the old
ones answer. A version that cannot be loaded changes nothing but `Live.failure`, and is tried again
after a while.
"""

import contextlib
import logging
import mmap
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from tadka.core.error import ConfigError, DataError
from tadka.features.features import Features
from tadka.scoring.model import Model
from tadka.serve.store.custom import PythonModel, error_text, load_any, score_each
from tadka.serve.store.requests import REQUESTS, read_requests
from tadka.serve.store.state import State, Traffic, bucket_of, key_bytes, model_seed, thresholds_of
from tadka.serve.store.store import STATE, WORD, WORD_BYTES, Store
from tadka.serve.store.warmup import replay, touch

RETRY_S = 30.0
"""After which what could not be loaded is tried again."""

_FEW_REQUESTS = 64
"""That wake up a version: all have been tried when it was published."""

_logger = logging.getLogger("tadka.serve")

_Key: TypeAlias = tuple[str, int]
"""Model and version."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One version of a model, under an alias that gets traffic.

    Args:
        model: Its name.
        alias: That points to the version.
        version: Its number.
        scorer: The model itself.
    """

    model: str
    alias: str
    version: int
    scorer: Model | PythonModel

    @property
    def is_python(self) -> bool:
        """Whether the user's own object scores, which likes many rows in one call."""
        return isinstance(self.scorer, PythonModel)

    def predict(self, messages: Sequence[bytes]) -> list[float | Exception]:
        """A score for each message, or why it has none; never raises.

        Args:
            messages: Rows as clients send them.

        Returns:
            As many as there are messages, scores in [0, 1]. PropertyError and ModelError are
            about the model, any other DataError is about the message.
        """
        return score_each(self.scorer, messages)


@dataclass(frozen=True, eq=False)
class Served:
    """One model with all that answers for it.

    Args:
        name: Of the model.
        arms: Those that answer, in the order of the split.
        thresholds: For each arm the first bucket that is not its own nor one before.
        key: Number of the message's field that decides; None for the whole message.
        seed: Of the hash of keys.
        shadow: Arms that score without answering.
        versions: All arms by version, for requests that name one.
    """

    name: str
    arms: tuple[Arm, ...]
    thresholds: tuple[int, ...]
    key: int | None
    seed: int
    shadow: tuple[Arm, ...] = ()
    versions: Mapping[int, Arm] = field(default_factory=dict)

    def choose(self, message: bytes) -> Arm:
        """The arm that answers a message: the same for the same key, in every worker.

        Args:
            message: The request.
        """
        if len(self.arms) == 1:
            return self.arms[0]
        key = message if self.key is None else key_bytes(message, self.key)
        bucket = bucket_of(key, self.seed)
        for arm, end in zip(self.arms, self.thresholds, strict=True):
            if bucket < end:
                return arm
        raise AssertionError("the last threshold is the number of buckets")


@dataclass(frozen=True, eq=False)
class Serving:
    """All that a worker serves at one time; never changed.

    Args:
        generation: Of the store's state.
        models: In the order of their names.
        features: The class of the requests.
    """

    generation: int
    models: tuple[Served, ...]
    features: type[Features]

    @cached_property
    def by_name(self) -> Mapping[str, Served]:
        """The models by name."""
        return {served.name: served for served in self.models}


class Live:
    """What a worker serves now, and how it follows the store.

    Where a version cannot be loaded at the beginning, the one that its alias had before is served,
    if there is one: a worker that is started anew can do what those beside it do.

    Args:
        store: The store, or its folder.
        features: The feature class; None imports the one that the store was published with.
        on_swap: Called with what is served from now on, by the thread that swapped; must be short.

    Attributes:
        current: What is served; replaced as a whole, so that who reads it once has one version.
        failure: Why the newest state is not served; None where it is.

    Raises:
        NotFound: The store is empty and no class was given, or a file is missing.
        ConfigError: The class cannot be imported, or is not the store's.
        DataError: state.json is damaged, or a version without one before it.
    """

    def __init__(
        self,
        store: Store | str | Path,
        features: type[Features] | None = None,
        *,
        on_swap: Callable[[Serving], None] | None = None,
    ) -> None:
        self._store = store if isinstance(store, Store) else Store(store)
        self.on_swap = on_swap
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._target: State | None = None
        self._models: dict[_Key, Model | PythonModel] = {}
        self._before: set[_Key] = set()
        self._word: memoryview | None = None
        self._word_file: tuple[int, ...] | None = None
        self._map_word()
        self._seen = self._read_word()
        self._state_file = _identity(self._store.path / STATE)
        state = self._store.state()
        self._wanted: State | None = state  # None after close
        self._features = self._store.features() if features is None else features
        self.failure: str | None = None
        self._failed_s: float | None = None  # when it failed, where it is to be tried again
        self._state = self._load_first(state)
        self.current = self._serving(self._state)
        if self._state is state:
            with self._lock:
                self._start(state)

    # Following the store.

    @property
    def word(self) -> memoryview | None:
        """The mapped generation word, one uint64; None where the store has none yet.

        For a loop that looks without the interpreter. `check_file` may replace it.
        """
        return self._word

    def wants_refresh(self) -> bool:
        """Whether the store has changed since the last refresh: one look at mapped memory."""
        return self._word is not None and self._word[0] != self._seen

    def refresh(self) -> None:
        """Follows the store: swaps at once what is in memory, else starts to load it.

        Waits for no disk but for state.json, and never raises: what goes wrong stands in `failure`,
        and what was served is served on.
        """
        with self._lock:
            self._seen = self._read_word()
            self._state_file = _identity(self._store.path / STATE)
            try:
                state = self._store.state()
            except DataError as error:
                self._keep_failure(str(error))
                return
            if state == self._wanted:
                if self._state is self._wanted:
                    self.failure = self._failed_s = None
                elif self._is_retry_due():
                    self._failed_s, self._wanted = None, state
                    self._start(state)
                return
            if not state.models and self._state.models:
                self._keep_failure(
                    f"Store {str(self._store.path)!r} has lost its {STATE}; what it said is served."
                )
                return
            if self._wanted is not None and state.generation <= self._wanted.generation:
                self._models = {}  # another store in its place: equal numbers lie
            self._failed_s, self._wanted = None, state
            if _answering(state) <= self._models.keys():
                self._swap(state)
            self._start(state)

    def check_file(self) -> None:
        """Refreshes where state.json is another file than the one read last, or a load failed.

        The word is written after the file; a writer killed between the two loses it. Called about
        once a second this heals that, for the price of two looks at the folder. What failed is
        tried again after `RETRY_S`.
        """
        word_file = self._word_file
        self._map_word()
        if word_file is not None and self._word_file != word_file:  # a store keeps its own for ever
            with self._lock:
                self._models, self._wanted = {}, None
        if self._is_retry_due() or _identity(self._store.path / STATE) != self._state_file:
            self.refresh()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until nothing is being loaded.

        Args:
            timeout_s: Seconds to wait at most; None for as long as it takes.

        Returns:
            Whether nothing is being loaded.
        """
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    def close(self) -> None:
        """Follows the store no longer; what is served can still be used."""
        with self._lock:
            self._target = self._wanted = self._failed_s = None
            self._word = None  # the last reference: unmaps it

    def _map_word(self) -> None:
        """Maps the generation word, or the one of a store that took the place of the first."""
        found = _identity(self._store.path / WORD, is_content=False)
        if found is None or found == self._word_file:
            return
        # ValueError: it has no bytes yet
        path = self._store.path / WORD
        with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), WORD_BYTES, access=mmap.ACCESS_READ)
            self._word, self._word_file = memoryview(mapped).cast("Q"), found

    def _read_word(self) -> int:
        return 0 if self._word is None else self._word[0]

    # Loading.

    def _load_first(self, state: State) -> State:
        """Loads a state, or what of it can be loaded with the versions before those that cannot.

        Returns:
            The state that can be served.
        """
        found = state
        for key in sorted(_answering(state)):
            try:
                self._load({key})
            except Exception as error:  # users' code
                before = _stepped_back(found, *key)
                if before is None or key in _answering(before):
                    raise
                try:
                    self._load(_answering(before) - _answering(found))
                except Exception:  # noqa: BLE001 - the same; the first is what is to be repaired
                    raise error from None
                found = replace(before, generation=max(state.generation - 1, 0))
                self._fail(state, error)
        return found

    def _start(self, state: State) -> None:
        """Loads what a state lacks in the background; a thread that is at work does it next."""
        if self._thread is not None:
            self._target = state
        elif not _answering(state) | _standing_by(state) <= self._models.keys():
            self._target = state
            self._thread = threading.Thread(target=self._run, name="tadka-live", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        # Answers come first. A merely nice thread that has begun its slice keeps the loop waiting
        # for the rest of it, milliseconds; an idle one gives way at once.
        with contextlib.suppress(OSError, AttributeError):  # not everywhere is it allowed, or Linux
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        while True:
            with self._lock:
                state, self._target = self._target, None
                if state is None:
                    self._thread = None
                    return
            try:
                self._load(_answering(state))
            except Exception as error:  # noqa: BLE001 - users' code; the worker lives on
                self._fail(state, error)
                continue
            with self._lock:
                if state is self._wanted and state is not self._state:
                    self._swap(state)
            for key in _standing_by(state):
                if state is self._wanted:
                    # What a rollback would want; if it fails, that is said when it is wanted.
                    with contextlib.suppress(Exception):
                        self._load({key})

    def _load(self, wanted: set[_Key]) -> None:
        """Brings versions into memory, tried and ready to answer."""
        models = self._models  # another dict takes its place when another store does
        for model, version in sorted(wanted - models.keys()):
            place = self._store.version_path(model, version)
            loaded = load_any(place, self._features)
            touch(loaded)
            few = read_requests(place / REQUESTS)[:_FEW_REQUESTS]
            replay(loaded, few, repr(str(place / REQUESTS)))
            with self._lock:
                models[model, version] = loaded

    def _fail(self, state: State, error: Exception) -> None:
        with self._lock:
            if state is self._wanted:
                self._keep_failure(
                    f"Generation {state.generation} is not served: {error_text(error)}"
                )

    def _keep_failure(self, why: str) -> None:
        """Says why the newest state is not served: once, until it is another reason."""
        if why != self.failure:
            _logger.error("%s", why)
        self.failure = why
        self._failed_s = time.monotonic()

    def _is_retry_due(self) -> bool:
        failed_s = self._failed_s
        return failed_s is not None and time.monotonic() - failed_s >= RETRY_S

    def _swap(self, state: State) -> None:
        """Serves a state whose versions are in memory. The lock is held."""
        try:
            serving = self._serving(state)
            if self.on_swap is not None:
                self.on_swap(serving)
        except Exception as error:  # noqa: BLE001 - nothing may end what answers
            self._fail(state, error)
            return
        self._before = _answering(self._state)
        self._state, self.current = state, serving
        self.failure = self._failed_s = None
        kept = _answering(state) | _standing_by(state) | self._before
        for key in self._models.keys() - kept:
            del self._models[key]

    def _serving(self, state: State) -> Serving:
        models = tuple(self._served(name, state.models[name]) for name in sorted(state.models))
        return Serving(state.generation, models, self._features)

    def _served(self, name: str, traffic: Traffic) -> Served:
        def arm(alias: str) -> Arm:
            version = traffic.aliases[alias]
            return Arm(name, alias, version, self._models[name, version])

        arms = tuple(arm(alias) for alias in traffic.split)
        shadow = tuple(arm(alias) for alias in traffic.shadow)
        return Served(
            name,
            arms,
            thresholds_of(traffic.split),
            self._number(traffic.key),
            model_seed(name),
            shadow,
            {found.version: found for found in (*shadow, *reversed(arms))},
        )

    def _number(self, key: str | None) -> int | None:
        """Number of the message's field of a key."""
        if key is None:
            return None
        for found in self._features.definition().fields:
            if found.name == key:
                return found.number
        raise ConfigError(
            f"The split's key {key!r} is no field of {self._features.__name__!r}. Split again: "
            "tadka serve split."
        )


def _answering(state: State) -> set[_Key]:
    """Versions that are needed to serve a state: those with traffic, and shadows."""
    return {
        (name, traffic.aliases[alias])
        for name, traffic in state.models.items()
        for alias in (*traffic.split, *traffic.shadow)
    }


def _standing_by(state: State) -> set[_Key]:
    """Versions that a rollback of an alias with traffic would bring back."""
    return {
        (name, traffic.previous[alias])
        for name, traffic in state.models.items()
        for alias in (*traffic.split, *traffic.shadow)
        if alias in traffic.previous
    }


def _stepped_back(state: State, model: str, version: int) -> State | None:
    """A state that answers with the version before another one; None where there is none."""
    traffic = state.models[model]
    aliases = [
        alias for alias in (*traffic.split, *traffic.shadow) if traffic.aliases[alias] == version
    ]
    if any(alias not in traffic.previous for alias in aliases):
        return None
    before = {alias: traffic.previous[alias] for alias in aliases}
    changed = replace(traffic, aliases={**traffic.aliases, **before})
    return replace(state, models={**state.models, model: changed})


def _identity(file: Path, *, is_content: bool = True) -> tuple[int, ...] | None:
    """What tells a file from one that took its place; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    content = (found.st_mtime_ns, found.st_size) if is_content else ()
    return found.st_dev, found.st_ino, *content
