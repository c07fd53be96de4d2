"""Objects of a workspace in an object store; a folder lies there as one tar."""

import contextlib
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from tadka.core.error import DataError
from tadka.storage.publish import publish_file
from tadka.storage.uri import join, reading, store_errors
from tadka.task.store.row import Output

_CHUNK = 1 << 22


class Remote:
    """Stored bytes by their content, elsewhere.

    Args:
        uri: Of the workspace.
        file_system: Of `tadka.storage.resolve`.
        root: The path of the workspace in it.
    """

    def __init__(self, uri: str, file_system: Any, root: str) -> None:
        self.uri = uri
        self._file_system = file_system
        self._root = root.rstrip("/")

    def has(self, output: Output) -> bool:
        """Whether an object is there, a file with its size.

        Args:
            output: Names it.

        Raises:
            DataError: The store does not answer.
        """
        with reading(self._uri(output)):
            try:
                self._file_system.invalidate_cache()  # others write, too
                size = int(self._file_system.info(self._path(output))["size"])
            except FileNotFoundError:
                return False
        return output.is_folder or size == output.num_bytes

    def upload(self, output: Output) -> None:
        """Stores an object that waits aside; nothing is done where it is there.

        Args:
            output: Of `Objects.put`.

        Raises:
            DataError: The store does not take it.
        """
        if self.has(output):
            return
        aside = Path(str(output.aside))
        with publish_file(self._uri(output)) as to:
            if output.is_folder:
                _pack(aside, to)
            else:
                with aside.open("rb") as file:
                    shutil.copyfileobj(file, to, _CHUNK)

    def download(self, output: Output, begin: Callable[..., Path]) -> Path:
        """A copy of an object aside.

        Args:
            output: Names it.
            begin: `Objects.begin`.

        Returns:
            For `Objects.put`, which hashes it.

        Raises:
            NotFound: It is gone.
            DataError: The store does not answer, or it is no tar of a folder.
        """
        aside = begin(output.suffix, is_folder=output.is_folder)
        with reading(self._uri(output)):
            file = self._file_system.open(self._path(output), "rb")
        with reading(self._uri(output)), file:
            if output.is_folder:
                _unpack(file, aside, self._uri(output))
            else:
                with aside.open("xb") as to:
                    shutil.copyfileobj(file, to, _CHUNK)
        return aside

    def quarantine(self, output: Output) -> str:
        """Moves an object out of the way.

        Args:
            output: Names it.

        Returns:
            Where it is now.

        Raises:
            DataError: The store does not move it.
        """
        name = f"quarantine/{output.content}-{time.time_ns()}{output.suffix}"
        try:
            with contextlib.suppress(FileNotFoundError):
                self._file_system.mv(self._path(output), f"{self._root}/{name}")
        except store_errors() as error:
            raise DataError(f"{self._uri(output)!r} cannot be moved away: {error}.") from error
        return join(self.uri, name)

    def contents(self) -> list[tuple[str, str, int]]:
        """Hash, path and size of every object.

        Raises:
            DataError: The store does not answer.
        """
        folder = f"{self._root}/objects"
        try:
            self._file_system.invalidate_cache()
            found = self._file_system.find(folder, detail=True)
        except FileNotFoundError:
            return []
        except store_errors() as error:
            raise DataError(f"{join(self.uri, 'objects')!r} cannot be listed: {error}.") from error
        names = {path: str(path).rpartition("/")[2] for path in found}
        return [
            (name.removesuffix(".tar"), path, int(found[path].get("size") or 0))
            for path, name in sorted(names.items())
            if _is_content(name.removesuffix(".tar"))
        ]

    def remove(self, path: str) -> None:
        """Removes an object that no entry names, while no run goes on; none there is no error.

        Args:
            path: Of `contents`.

        Raises:
            DataError: The store does not remove it.
        """
        try:
            with contextlib.suppress(FileNotFoundError):
                self._file_system.rm_file(path)
        except store_errors() as error:
            raise DataError(f"{path!r} cannot be removed: {error}.") from error

    def _name(self, output: Output) -> str:
        content = output.content
        return f"objects/{content[:2]}/{content}{'.tar' if output.is_folder else ''}"

    def _path(self, output: Output) -> str:
        return f"{self._root}/{self._name(output)}"

    def _uri(self, output: Output) -> str:
        return join(self.uri, self._name(output))


def _is_content(name: str) -> bool:
    return len(name) == 64 and not set(name) - set("0123456789abcdef")


def _pack(folder: Path, to: Any) -> None:
    """Writes a folder as a tar: the same bytes wherever and whenever it is done."""
    with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            if path.is_dir():
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(info, file)


def _unpack(file: Any, folder: Path, uri: str) -> None:
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for info in tar:
                name = PurePosixPath(info.name)
                if name.is_absolute() or ".." in name.parts:
                    raise DataError(f"{uri!r} holds {info.name!r}, which is not below its folder.")
                target = folder / name
                source = tar.extractfile(info) if info.isfile() else None
                if source is None:
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as to:
                    shutil.copyfileobj(source, to, _CHUNK)
    except tarfile.TarError as error:
        # half a folder has another hash than the whole, by which it is found out
        shutil.rmtree(folder)
        folder.mkdir()
        folder.joinpath("damaged").write_text(str(error), encoding="utf-8")
