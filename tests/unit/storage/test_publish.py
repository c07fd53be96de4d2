# ruff: noqa: PT012, SIM117 - the block under test is a with statement of its own
# ruff: noqa: PTH208 - os.listdir names hidden files, shortly

import contextlib
import errno
import gc
import os
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.storage.format import open_writer
from tadka.storage.publish import publish_directory, publish_file
from tadka.storage.uri import expand, join, resolve

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def content(uri: str) -> bytes:
    file_system, path = resolve(uri)
    data: bytes = file_system.cat_file(path)
    return data


def everything(folder: str) -> list[str]:
    """All names below a folder, hidden ones too."""
    file_system, path = resolve(folder)
    file_system.invalidate_cache()
    root = path.rstrip("/") + "/"
    return sorted(found.removeprefix(root) for found in file_system.find(path))


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def test_file_appears_when_the_block_ends_and_replaces_the_old(folder: str) -> None:
    uri = join(folder, "new/sub/a.bin")
    for data in (b"one", b"two" * 3_000_000, b""):
        with publish_file(uri) as file:
            file.write(data)

        assert data == content(uri)
    assert ["new/sub/a.bin"] == everything(folder)


def test_name_is_not_there_before_the_block_ends(folder: str) -> None:
    with publish_file(join(folder, "a.bin")) as file:
        file.write(b"x" * 100)
        file.flush()
        assert "a.bin" not in everything(folder)

    assert ["a.bin"] == everything(folder)


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), FileNotFoundError(2, "x")]
)
def test_failing_block_leaves_the_old_content_and_nothing_else(
    folder: str, error: BaseException
) -> None:
    uri = join(folder, "a.bin")
    with publish_file(uri) as file:
        file.write(b"old")

    expected = DataError if isinstance(error, OSError) and "s3" in folder else type(error)
    expected = DataError if isinstance(error, OSError) and "memory" in folder else expected
    with pytest.raises(expected), publish_file(uri) as file:
        file.write(b"new" * 5_000_000)
        raise error
    gc.collect()

    assert b"old" == content(uri)
    assert ["a.bin"] == everything(folder)


def test_failed_upload_leaves_no_parts_in_the_store(bucket: str) -> None:
    file_system = fsspec.filesystem("s3")
    with pytest.raises(ValueError, match="no"), publish_file(join(bucket, "a.bin")) as file:
        file.write(b"x" * (2 * file_system.default_block_size + 1))
        file.write(b"y")
        raise ValueError("no")
    gc.collect()

    assert [] == file_system.list_multipart_uploads("tadka-test")


def test_missing_bucket_is_named(bucket: str) -> None:
    with pytest.raises(DataError, match=r"'s3://tadka-none/a' cannot be written: .*bucket"):
        with publish_file("s3://tadka-none/a") as file:
            file.write(b"x")


def test_file_gets_the_rights_that_the_process_gives(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with publish_file(tmp_path / "a") as file:
            file.write(b"x")
    finally:
        os.umask(old)

    assert 0o640 == stat.S_IMODE((tmp_path / "a").stat().st_mode)


def test_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("sub/real")

    with publish_file(tmp_path / "link") as file:
        file.write(b"new")

    assert (tmp_path / "link").is_symlink()
    assert b"new" == (tmp_path / "sub" / "real").read_bytes()


def test_folder_or_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("folder", "fifo"):
        with pytest.raises(DataError, match="is not a regular file; it cannot be replaced"):
            with publish_file(tmp_path / name):
                pytest.fail("the block must not run")

    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()

    with pytest.raises(DataError, match=r"a/b' cannot be written: .*(exists|Not a directory)"):
        with publish_file(tmp_path / "a" / "b"):
            pytest.fail("the block must not run")


def test_long_name_is_published(tmp_path: Path) -> None:
    name = "n" * 255
    with publish_file(tmp_path / name) as file:
        file.write(b"x")

    assert [name] == os.listdir(tmp_path)


def test_error_of_the_disk_names_the_target(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a' cannot be written: .*Input/output error"):
        with publish_file(tmp_path / "a"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert [] == os.listdir(tmp_path)


FULL_DISK = """
import os, sys
import pyarrow as pa
from tadka.core.error import DataError
from tadka.storage.format import open_writer
from tadka.storage.publish import publish_directory, publish_file

os.chdir(sys.argv[1])
with publish_file("a.parquet") as file:
    file.write(b"old")

def raw():
    with publish_file("a.parquet") as file:
        file.write(os.urandom(1 << 21))

def at_the_end():
    with publish_file("a.parquet") as file:
        file.write(os.urandom((1 << 20) - 8000))  # the last part waits in the buffer
        file.write(os.urandom(5000))

def parquet():
    with publish_file("a.parquet") as file:
        table = pa.table({"a": [os.urandom(1 << 16) for _ in range(64)]})
        writer = open_writer(file, ".parquet", table.schema)
        writer.write(table)
        writer.close()

def jsonl():
    with publish_file("a.parquet") as file:
        table = pa.table({"a": ["x" * (1 << 16)] * 64})
        writer = open_writer(file, ".jsonl", table.schema)
        writer.write(table)
        writer.close()

def folder():
    with publish_directory("new") as path:
        (path / "x").write_bytes(os.urandom(1 << 21))

for act in (raw, at_the_end, parquet, jsonl, folder):
    try:
        act()
    except DataError as error:
        print(act.__name__, error)
    else:
        print(act.__name__, "wrote all")
    print(*os.listdir("."), open("a.parquet", "rb").read())
"""


@pytest.mark.needs_root
def test_full_disk_is_a_data_error_that_tells_the_free_bytes(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    program = shlex.join([sys.executable, "-c", FULL_DISK, str(disk)])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c",
         f"mount -t tmpfs -o size=1m none {shlex.quote(str(disk))} && exec {program}"],
        capture_output=True, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    assert not done.stderr
    lines = done.stdout.splitlines()
    for name, target in zip(
        ("raw", "at_the_end", "parquet", "jsonl", "folder"),
        ["a.parquet"] * 4 + ["new"],
        strict=True,
    ):
        message, left = lines[:2]
        del lines[:2]
        assert message.startswith(f"{name} {target!r} cannot be written: the disk is full (")
        assert message.endswith("bytes are free). Free some space or choose another place.")
        assert "a.parquet b'old'" == left


def test_process_killed_in_the_middle_leaves_the_old_file_and_a_hidden_one(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"old")
    child = python(
        "import sys\n"
        "from tadka.storage.publish import publish_file\n"
        "with publish_file(sys.argv[1]) as file:\n"
        "    file.write(b'new' * 1000000)\n"
        "    file.flush()\n"
        "    print('written', flush=True)\n"
        "    sys.stdin.read()\n",
        f"{tmp_path}/a.bin",
    )
    assert child.stdout is not None
    with child:
        assert "written\n" == child.stdout.readline()
        child.send_signal(signal.SIGKILL)

    assert -signal.SIGKILL == child.returncode
    assert b"old" == (tmp_path / "a.bin").read_bytes()
    assert [f"{tmp_path}/a.bin"] == expand(tmp_path)
    hidden = [name for name in os.listdir(tmp_path) if name != "a.bin"]
    assert 1 == len(hidden)
    assert hidden[0].startswith(f".a.bin.{child.pid}-")


def test_process_killed_while_filling_a_folder_leaves_no_folder(tmp_path: Path) -> None:
    child = python(
        "import sys\n"
        "from tadka.storage.publish import publish_directory\n"
        "with publish_directory(sys.argv[1]) as path:\n"
        "    (path / 'a').write_bytes(b'half')\n"
        "    print('written', flush=True)\n"
        "    sys.stdin.read()\n",
        f"{tmp_path}/model",
    )
    assert child.stdout is not None
    with child:
        assert "written\n" == child.stdout.readline()
        child.kill()

    assert not (tmp_path / "model").exists()
    with publish_directory(tmp_path / "model") as path:
        (path / "a").write_bytes(b"whole")
    assert b"whole" == (tmp_path / "model" / "a").read_bytes()


PUBLISH_OFTEN = """
import sys
from tadka.storage.publish import publish_directory, publish_file
kind, target, letter = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for i in range(60):
    if kind == "file":
        with publish_file(target) as file:
            for _ in range(10):
                file.write(letter.encode() * 10_000)
    else:
        with publish_directory(target, replace=True) as path:
            for name in "ab":
                (path / name).write_text(letter)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_two_processes_publishing_one_name_leave_one_whole_result(
    tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "target"
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(python(PUBLISH_OFTEN, kind, str(target), letter)) for letter in "xy"
        ]
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        seen = set()
        while any(child.poll() is None for child in children):
            if kind == "file" and target.exists():
                seen.add(target.read_bytes())

    assert [0, 0] == [child.returncode for child in children]
    assert ["target"] == os.listdir(tmp_path)
    if kind == "file":
        assert seen | {target.read_bytes()} <= {b"x" * 100_000, b"y" * 100_000}
    else:
        assert 1 == len({(target / name).read_text() for name in "ab"})


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "model"
    with publish_directory(target) as path:
        (path / "sub").mkdir()
        (path / "sub" / "a").write_bytes(b"x")
        assert path.parent == target.parent
        assert not target.exists()

    assert b"x" == (target / "sub" / "a").read_bytes()
    assert ["model"] == os.listdir(target.parent)


def test_existing_folder_is_refused_before_the_block_runs(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()

    with pytest.raises(
        DataError, match=r"model' exists already\. Choose another name, or pass repl"
    ):
        with publish_directory(tmp_path / "model"):
            pytest.fail("the block must not run")


def test_folder_published_meanwhile_by_another_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with pytest.raises(DataError, match="exists already"):
        with publish_directory(target):
            with publish_directory(target) as path:
                (path / "a").write_bytes(b"first")

    assert b"first" == (target / "a").read_bytes()
    assert ["model"] == os.listdir(tmp_path)


@pytest.mark.parametrize("old", ["folder", "file", "nothing"])
def test_existing_target_is_replaced_when_asked(tmp_path: Path, old: str) -> None:
    target = tmp_path / "model"
    if old == "folder":
        target.mkdir()
        (target / "old").touch()
    elif old == "file":
        target.touch()

    with publish_directory(target, replace=True) as path:
        (path / "new").touch()

    assert ["new"] == os.listdir(target)
    assert ["model"] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), FileNotFoundError(2, "x")]
)
def test_failing_block_keeps_the_old_folder_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    target = tmp_path / "model"
    with publish_directory(target) as path:
        (path / "old").touch()

    with pytest.raises(type(error)), publish_directory(target, replace=True) as path:
        (path / "new").touch()
        raise error

    assert ["old"] == os.listdir(target)
    assert ["model"] == os.listdir(tmp_path)


def test_folder_removed_by_its_own_block_is_a_data_error(tmp_path: Path) -> None:
    with publish_directory(tmp_path / "model") as path:
        (path / "old").touch()
    for name, replace in (("new", False), ("model", True)):
        with pytest.raises(DataError, match=f"{name}' cannot be written"):
            with publish_directory(tmp_path / name, replace=replace) as path:
                path.rmdir()

    assert ["model"] == os.listdir(tmp_path)
    assert ["old"] == os.listdir(tmp_path / "model")


def test_folder_in_a_store_is_refused(memory: str) -> None:
    with pytest.raises(ConfigError, match=r"is not local, .* a manifest last"):
        with publish_directory(join(memory, "model")):
            pytest.fail("the block must not run")


def test_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    schema: Any = pa.schema([("a", pa.binary())])
    with pytest.raises(DataError, match="no form in JSON lines"):
        with publish_file(tmp_path / "a.jsonl") as file:
            writer = open_writer(file, ".jsonl", schema)
            writer.write(pa.table({"a": [b"x"]}, schema=schema))

    assert [] == os.listdir(tmp_path)
