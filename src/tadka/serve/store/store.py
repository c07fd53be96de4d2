"""The model store: a folder of versions that never change, and one file that says what is served.

    STORE/state.json        aliases, split, key, shadows and previous versions of every model
    STORE/generation        its generation number, mapped into the memory of every worker
    STORE/lock              held by who changes state.json
    STORE/MODEL/3/          a copy of a model directory, with requests.pb and features.json
    STORE/log/*.arrow       the request log, where a server keeps it here

A version is copied, loaded and tried under a hidden name, then renamed, then named by a new
state.json that replaces the old one by a rename, and last the generation word is written. So a
writer that is killed anywhere leaves the store serving what it served; what it left behind the next
writer sweeps away. A folder being written is locked (flock), so that it is swept only when its
writer is dead. A store lives on one machine's disk: locks and mapped words do not travel.
"""

import contextlib
import errno
import fcntl
import filecmp
import json
import os
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tadka.core.error import ConfigError, DataError, NotFound, TadkaError
from tadka.features.definition import Definition
from tadka.features.features import Features
from tadka.features.locate import find_class
from tadka.scoring.model import Model
from tadka.scoring.record import RECORD, read_record
from tadka.serve.config import ServeConfig
from tadka.serve.prediction import service_proto
from tadka.serve.store.custom import PythonModel, load_any
from tadka.serve.store.requests import (
    MAX_REQUESTS,
    REQUESTS,
    read_logged,
    read_rows,
    write_requests,
)
from tadka.serve.store.state import (
    State,
    Traffic,
    check_alias,
    check_name,
    check_shadow,
    check_split,
    parse_split,
)
from tadka.serve.store.warmup import replay
from tadka.storage.publish import publish_file, sync, sync_tree

STATE, WORD, LOCK, LOG = "state.json", "generation", "lock", "log"
CLASS = "features.json"
"""Beside a version: the whole feature class, of which the model may see a group only."""

WORD_BYTES = 8
_ASIDE = ".aside-"


@dataclass(frozen=True)
class Published:
    """What `Store.publish` did.

    Args:
        model: Name of the model.
        alias: That points to the version now.
        version: Its number.
        generation: Of the state.
        replayed: Requests that it was tried with.
        is_new: False where the alias had the same content already, so that nothing was done.
        share: Percent of the model's requests that the alias answers.
    """

    model: str
    alias: str
    version: int
    generation: int
    replayed: int
    is_new: bool
    share: float


@dataclass(frozen=True)
class AliasRow:
    """One alias of one model, for display.

    Args:
        model: Name of the model.
        alias: One of its aliases.
        version: That the alias points to.
        share: Percent of the requests that it answers.
        is_shadow: Whether it scores without answering.
        previous: Version to which a rollback returns; None where there is none.
        since: When the alias got the version, in seconds since 1970.
        kind: Of the model, as in its record; "damaged" where that cannot be read.
        metrics: As recorded in training.
    """

    model: str
    alias: str
    version: int
    share: float
    is_shadow: bool
    previous: int | None
    since: int | None
    kind: str
    metrics: Mapping[str, float]


class Store:
    """A folder of versions, and which of them are served.

    Args:
        path: The folder; `publish` makes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    # What it holds.

    def state(self) -> State:
        """What is served; nothing where nothing was published yet.

        Raises:
            DataError: state.json is damaged.
        """
        file = self.path / STATE
        try:
            return State.from_json(file.read_bytes(), str(file))
        except (FileNotFoundError, NotADirectoryError):
            return State()
        except OSError as error:
            raise DataError(f"File {str(file)!r} cannot be read: {error}.") from error

    def model(self, name: str | None = None) -> str:
        """The name of a model of the store.

        Args:
            name: As the user gave it; None for the only one.

        Raises:
            ConfigError: There is no such model, or several and none was named.
        """
        return _name(self.state(), self.path, name)

    def version_path(self, model: str, version: int) -> Path:
        """The folder of a version."""
        return self.path / model / str(version)

    def features(self) -> type[Features]:
        """The class that the store's models were published with, imported by name.

        Raises:
            NotFound: Nothing was published yet, or a file is missing.
            ConfigError: The class cannot be imported.
            DataError: A file is damaged.
        """
        saved = self._saved_class(self.state())
        if saved is None:
            raise NotFound(
                f"Store {str(self.path)!r} serves nothing yet. Run: {publish_command(self.path)}."
            )
        try:
            return find_class(saved["class"])
        except (ConfigError, NotFound) as error:
            raise ConfigError(
                f"Store {str(self.path)!r} needs its feature class {saved['class']!r}: {error} "
                "Start where the module can be found, or give the class (features=, or --features)."
            ) from error

    def status(self) -> list[AliasRow]:
        """Every alias of every model.

        Raises:
            DataError: state.json is damaged.
        """
        rows = []
        for model, traffic in sorted(self.state().models.items()):
            for alias, version in traffic.aliases.items():
                try:
                    record = read_record(self.version_path(model, version))
                except TadkaError:
                    record = {"kind": "damaged", "metrics": {}}
                rows.append(
                    AliasRow(
                        model,
                        alias,
                        version,
                        traffic.split.get(alias, 0.0),
                        alias in traffic.shadow,
                        traffic.previous.get(alias),
                        traffic.since.get(alias),
                        record["kind"],
                        record["metrics"],
                    )
                )
        return rows

    # What changes it.

    def publish(
        self,
        model_dir: str | Path,
        *,
        alias: str = "production",
        model: str | None = None,
        requests: str | Path | None = None,
        features: type[Features] | None = None,
    ) -> Published:
        """Copies a model directory into the store, tries it, and points an alias at it.

        Args:
            model_dir: What `save` wrote; it may be deleted afterwards.
            alias: That shall point to it. The first alias of a model gets all of its requests,
                another gets some when `split` or `shadow` names it.
            model: Name of the model; None for the only one of the store, or "model" in an empty
                one.
            requests: Table of rows to try it with, or a request log; None takes the last rows of
                the log in the store, else the example of the model.
            features: The feature class; None imports it by the name saved with the model.

        Returns:
            What was done. Servers of the store follow within a second.

        Raises:
            NotFound: There is no model in the directory, or a file is missing.
            ConfigError: A name is no name, the feature class cannot be served, or it is another
                one than the store's; the message says what differs.
            DataError: A file is damaged, a request has no score in [0, 1], or the store cannot be
                written. The store serves what it served.
        """
        source = Path(model_dir)
        check_name("Alias", alias)
        state = self.state()
        model = self._first_name(state) if model is None else check_name("Model", model)
        record = read_record(source)
        if record["features"] is None:
            raise ConfigError(
                f"Model {str(source)!r} has no feature class, so it cannot read requests. Give it "
                "one where it is made."
            )
        traffic = state.models.get(model)
        if traffic is not None and alias in traffic.aliases:
            version = traffic.aliases[alias]
            if _is_same(source, self.version_path(model, version), record):
                share = traffic.split.get(alias, 0.0)
                return Published(model, alias, version, state.generation, 0, False, share)
        with self._aside() as aside:
            with _writing(self.path):
                _copy(source, aside)
            loaded = _load(aside, source, features)
            assert loaded.features is not None
            service_proto(loaded.features)  # which refuses a class that has no service
            self._check_class(state, source, loaded.features)
            messages, where = self._requests(requests, loaded, loaded.features)
            try:
                replay(loaded, messages, where)
            except DataError as error:
                raise DataError(f"Model {str(source)!r} is not published. {error}") from error
            with _writing(self.path):
                write_requests(aside / REQUESTS, messages)
                _write_class(aside / CLASS, loaded.features)
                sync_tree(aside)
            changed, version = self._add(model, alias, aside, source, loaded.features)
        share = changed.models[model].split.get(alias, 0.0)
        return Published(model, alias, version, changed.generation, len(messages), True, share)

    def rollback(self, model: str | None = None, alias: str = "production") -> State:
        """Points an alias at the version it had before; a second rollback goes forward again.

        Args:
            model: Name of the model; None for the only one.
            alias: The alias.

        Returns:
            The new state.

        Raises:
            ConfigError: The model or alias is unknown, or the alias had no version before.
            NotFound: The version's folder is gone.
        """

        def change(name: str, traffic: Traffic) -> Traffic:
            current = traffic.aliases[check_alias(alias, traffic.aliases)]
            before = traffic.previous.get(alias)
            if before is None:
                raise ConfigError(
                    f"Alias {alias!r} of model {name!r} had no version before {current}. Publish "
                    f"the version you want: {publish_command(self.path)}."
                )
            read_record(self.version_path(name, before))
            return replace(
                traffic,
                aliases={**traffic.aliases, alias: before},
                previous={**traffic.previous, alias: current},
                since={**traffic.since, alias: int(time.time())},
            )

        return self._change(model, change)

    def split(
        self, split: Mapping[str, float] | str, *, model: str | None = None, key: str | None = None
    ) -> State:
        """Says which share of the requests each alias answers.

        Args:
            split: Percent by alias, 100 together, or the same as text:
                "production=90,candidate=10". Keys fall to the aliases in this order.
            model: Name of the model; None for the only one.
            key: Field of the feature class whose value decides, so that one user always meets the
                same version; "" for the whole request, None for the same as before.

        Returns:
            The new state.

        Raises:
            ConfigError: The model, an alias or the key is unknown, or the shares are none.
        """
        shares = parse_split(split) if isinstance(split, str) else split

        def change(_: str, traffic: Traffic) -> Traffic:
            checked = check_split(shares, traffic.aliases)
            if key:
                self._check_key(key)
            return replace(traffic, split=checked, key=traffic.key if key is None else key or None)

        return self._change(model, change)

    def shadow(self, aliases: Sequence[str], *, model: str | None = None) -> State:
        """Says which aliases score requests without answering; their scores are logged.

        Args:
            aliases: Their names; none switches shadows off.
            model: Name of the model; None for the only one.

        Returns:
            The new state.

        Raises:
            ConfigError: The model or an alias is unknown, or named twice.
        """

        def change(_: str, traffic: Traffic) -> Traffic:
            return replace(traffic, shadow=check_shadow(aliases, traffic.aliases))

        return self._change(model, change)

    def prune(self, keep: int = 2, *, model: str | None = None) -> list[Path]:
        """Deletes versions that no alias points to, nor would after a rollback.

        Args:
            keep: How many of those to keep all the same, the newest first; at least 0.
            model: Name of the model; None for all.

        Returns:
            Folders that were deleted. Workers that serve one of them go on: it is mapped.

        Raises:
            ConfigError: `keep` is negative, or the model is unknown.
            NotFound: There is no such store.
            DataError: A folder cannot be deleted.
        """
        if keep < 0:
            raise ConfigError(f"{keep} versions cannot be kept; it must be at least 0.")
        self._check_exists()
        deleted = []
        with self._locked(), _writing(self.path):
            state = self.state()
            names = list(state.models) if model is None else [_name(state, self.path, model)]
            for name in names:
                traffic = state.models[name]
                used = {*traffic.aliases.values(), *traffic.previous.values()}
                idle = sorted(_versions(self.path / name) - used)
                for version in idle[: max(0, len(idle) - keep)]:
                    folder = self.version_path(name, version)
                    aside = self.path / f"{_ASIDE}{secrets.token_hex(8)}"
                    folder.rename(aside)  # so that no version is ever seen half deleted
                    shutil.rmtree(aside)
                    deleted.append(folder)
        return deleted

    # Names and classes.

    def _first_name(self, state: State) -> str:
        return _name(state, self.path, None) if state.models else "model"

    def _saved_class(self, state: State) -> dict[str, Any] | None:
        """What the store keeps of its feature class; None before anything was published."""
        failure: TadkaError | None = None
        for model, traffic in state.models.items():
            for version in sorted({*traffic.aliases.values(), *traffic.previous.values()}):
                try:
                    return _read_class(self.version_path(model, version) / CLASS)
                except (NotFound, DataError) as error:  # any other version knows it, too
                    failure = failure or error
        if failure is not None:
            raise failure
        return None

    def _check_class(self, state: State, source: Path, features: type[Features]) -> None:
        """All models of a store read the same requests, so they share one definition."""
        saved = self._saved_class(state)
        if saved is None:
            return
        mine, theirs = features.definition(), Definition.from_dict(saved["definition"])
        if mine.hash != theirs.hash:
            differences = "; ".join(mine.differences(theirs))
            raise ConfigError(
                f"Model {str(source)!r} is of another feature class than those of store "
                f"{str(self.path)!r}: {differences} (here: the model, there: the store). Publish "
                "it to a store of its own (--store DIR), and serve that."
            )

    def _check_key(self, key: str) -> None:
        saved = self._saved_class(self.state())
        assert saved is not None  # a model was found, so something was published
        fields = {f.name: f for f in Definition.from_dict(saved["definition"]).fields}
        if key not in fields or fields[key].is_list:
            known = ", ".join(name for name, found in fields.items() if not found.is_list)
            raise ConfigError(
                f"Key {key!r} is no field with one value of {saved['class']!r}; it must be one of "
                f"{known}."
            )

    def _requests(
        self,
        requests: str | Path | None,
        model: Any,
        features: type[Features],
    ) -> tuple[list[bytes], str]:
        """What to try a version with, and a name for it."""
        if requests is not None:
            return read_rows(requests, features, max_rows=MAX_REQUESTS), repr(str(requests))
        logged = read_logged(self.path / LOG)
        if logged:
            return logged, "the request log"
        return [model.example or b""], "the model's example"

    # Writing.

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the store's lock; what dead writers left is swept first."""
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._sweep()
            yield
        finally:
            os.close(lock)

    def _sweep(self) -> None:
        for left in self.path.glob(f".{STATE}.*.tmp"):
            left.unlink(missing_ok=True)  # state.json is written under the lock only
        for left in self.path.glob(f"{_ASIDE}*"):
            with contextlib.suppress(OSError):
                handle = _lock_folder(left)
                if handle is not None:
                    shutil.rmtree(left, ignore_errors=True)
                    os.close(handle)

    @contextlib.contextmanager
    def _aside(self) -> Iterator[Path]:
        """An empty folder in the store that is gone after the block, unless it was renamed."""
        aside = self.path / f"{_ASIDE}{secrets.token_hex(8)}"
        with self._locked(), _writing(self.path):  # between these two steps nobody may sweep
            aside.mkdir()
            handle = _lock_folder(aside)
        assert handle is not None
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            os.close(handle)

    def _add(
        self,
        model: str,
        alias: str,
        aside: Path,
        source: Path,
        features: type[Features],
    ) -> tuple[State, int]:
        """Makes a folder the next version of a model, to which the alias points."""
        with self._locked():
            state = self.state()  # another writer may have come first
            self._check_class(state, source, features)
            traffic = state.models.get(model)
            folder = self.path / model
            last = traffic.last if traffic is not None else 0
            version = 1 + max([last, *_versions(folder)])
            changed = _changed(state, model, _pointed(traffic, alias, version))
            place = self.version_path(model, version)
            with _writing(self.path):
                folder.mkdir(exist_ok=True)
                aside.rename(place)
            try:
                with _writing(self.path):
                    sync(folder)
                    sync(self.path)
                self._write(state, changed)
            except BaseException:
                with contextlib.suppress(OSError, DataError):
                    if self.state() == state:  # nothing names the version
                        place.rename(aside)
                        folder.rmdir()  # fails where it has other versions
                raise
            return changed, version

    def _check_exists(self) -> None:
        if not self.path.is_dir():
            raise NotFound(
                f"Store {str(self.path)!r} does not exist. Run: {publish_command(self.path)}."
            )

    def _change(self, model: str | None, change: Callable[[str, Traffic], Traffic]) -> State:
        self._check_exists()
        with self._locked():
            state = self.state()
            name = _name(state, self.path, model)
            changed = _changed(state, name, change(name, state.models[name]))
            self._write(state, changed)
            return changed

    def _write(self, state: State, changed: State) -> None:
        """Replaces the state, then tells the workers."""
        self._bump(state.generation)  # a disk too full for the word shows before anything changed
        with publish_file(self.path / STATE) as file:
            file.write(changed.to_json().encode())
        self._bump(changed.generation)

    def _bump(self, generation: int) -> None:
        """Writes the generation word into its file, which is never replaced: workers map it."""
        with _writing(self.path):
            word = os.open(self.path / WORD, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.pwrite(word, generation.to_bytes(WORD_BYTES, "little"), 0)
            finally:
                os.close(word)


def _name(state: State, path: Path, model: str | None) -> str:
    """The name of a model that the store has."""
    known = ", ".join(state.models) or "none"
    if model is None:
        if len(state.models) == 1:
            return next(iter(state.models))
        if state.models:
            raise ConfigError(
                f"Store {str(path)!r} has several models: {known}. Name one (--model)."
            )
        raise ConfigError(f"Store {str(path)!r} has no model yet. Run: {publish_command(path)}.")
    if model not in state.models:
        raise ConfigError(f"Store {str(path)!r} has no model {model!r}; it has: {known}.")
    return model


def publish_command(path: str | Path) -> str:
    """What a user types to publish a model.

    Args:
        path: Of the store, which is named unless it is the default one.
    """
    option = "" if str(path) == ServeConfig.store else f" --store {shlex.quote(str(path))}"
    return f"tadka serve publish MODEL_DIR{option}"


def _changed(state: State, model: str, traffic: Traffic) -> State:
    """The state that comes next."""
    return State(state.generation + 1, {**state.models, model: traffic})


def _pointed(traffic: Traffic | None, alias: str, version: int) -> Traffic:
    """The traffic of a model whose alias points to a new version."""
    now = int(time.time())
    if traffic is None:
        return Traffic({alias: version}, {alias: 100.0}, since={alias: now}, last=version)
    before = traffic.aliases.get(alias)
    return replace(
        traffic,
        aliases={**traffic.aliases, alias: version},
        previous=traffic.previous if before is None else {**traffic.previous, alias: before},
        since={**traffic.since, alias: now},
        last=version,
    )


def _versions(folder: Path) -> set[int]:
    """Numbers of the versions whose folders are there."""
    return {int(found.name) for found in folder.glob("[0-9]*") if found.name.isdecimal()}


def _is_same(source: Path, version: Path, record: Mapping[str, Any]) -> bool:
    """Whether two model directories hold the same model."""
    names = [RECORD, *record["files"], *record.get("blobs", {})]
    try:
        return all(filecmp.cmp(source / name, version / name, shallow=False) for name in names)
    except OSError:
        return False


def _copy(source: Path, aside: Path) -> None:
    """Copies the files of a model directory; folders in it, such as a store, are no part of it."""
    for file in sorted(source.iterdir()):
        if file.is_file() and file.name not in {REQUESTS, CLASS}:
            shutil.copyfile(file, aside / file.name)


def _load(aside: Path, source: Path, features: type[Features] | None) -> Model | PythonModel:
    """The model of a copy; messages name the original."""
    try:
        return load_any(aside, features)
    except (ConfigError, DataError, NotFound) as error:
        raise type(error)(str(error).replace(str(aside), str(source))) from error


def _write_class(file: Path, features: type[Features]) -> None:
    whole = features.definition()
    saved = {
        "class": f"{features.__module__}:{features.__qualname__}",
        "definition": whole.to_dict(),
    }
    file.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


def _read_class(file: Path) -> dict[str, Any]:
    try:
        saved = json.loads(file.read_bytes())
        return {"class": saved["class"], "definition": saved["definition"]}
    except FileNotFoundError as error:
        raise NotFound(f"File {str(file)!r} is missing. Publish to another store.") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"File {str(file)!r} is damaged ({error!r}). Publish to another store."
        ) from error


def _lock_folder(folder: Path) -> int | None:
    """A descriptor that holds the lock of a folder while it is open; None where another has it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what the disk says into DataError with the store's name."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DataError(
                f"Store {str(path)!r} cannot be written: the disk is full. It serves what it "
                "served. Free some space, for example with tadka serve prune."
            ) from error
        raise DataError(f"Store {str(path)!r} cannot be written: {error}.") from error
