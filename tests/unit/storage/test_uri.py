import os
import sys
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pytest

from tadka.core.error import ConfigError, DataError, MissingExtra, NotFound
from tadka.storage.publish import publish_file
from tadka.storage.uri import (
    expand,
    is_local,
    join,
    local_path,
    reading,
    resolve,
    stat,
    store_errors,
)


def put(folder: str, *names: str) -> None:
    for name in names:
        with publish_file(join(folder, name)) as file:
            file.write(name.encode())


def names(uris: list[str], folder: str) -> list[str]:
    """The part of each URI below the folder; a URI that resolves elsewhere fails."""
    _, root = resolve(folder)
    return [resolve(uri)[1].removeprefix(root.rstrip("/") + "/") for uri in uris]


def test_local_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    for uri in ("a.csv", Path("a.csv"), f"file://{tmp_path}/a.csv", "~/a.csv", tmp_path / "a.csv"):
        file_system, path = resolve(uri)
        assert f"{tmp_path}/a.csv" == path
        assert "file" in file_system.protocol


def test_unknown_protocol_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'nope://a' is not understood .* one of .*memory"):
        resolve("nope://a")


def test_empty_uri_is_refused() -> None:
    with pytest.raises(ConfigError, match="A URI is ''"):
        resolve("")


def test_protocol_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)

    with pytest.raises(MissingExtra, match=r"pip install 'tadka\[s3\]'"):
        resolve("s3://bucket/key")


def test_protocol_of_a_library_outside_the_extras_names_the_library() -> None:
    with pytest.raises(MissingExtra, match=r"'gs://bucket/key' cannot be opened: .*gcsfs"):
        resolve("gs://bucket/key")


def test_directory_stands_for_its_data_files_at_any_depth(folder: str) -> None:
    put(
        folder, "b.csv", "a.csv", "sub/deep/c.csv", "_SUCCESS", ".d.csv", "_tmp/e.csv", "x/.y/z.csv"
    )

    assert ["a.csv", "b.csv", "sub/deep/c.csv"] == names(expand(folder), folder)


def test_patterns_match_files_and_directories(folder: str) -> None:
    put(folder, "day=1/a.csv", "day=2/b.csv", "day=2/_c.csv", "other.csv", "x/y/d.txt")

    assert ["other.csv"] == names(expand(join(folder, "*.csv")), folder)
    assert ["day=1/a.csv", "day=2/b.csv"] == names(expand(join(folder, "day=*")), folder)
    assert ["day=2/b.csv"] == names(expand(join(folder, "day=2/*.csv")), folder)
    assert ["day=2/b.csv"] == names(expand(join(folder, "day=[2]")), folder)
    assert ["x/y/d.txt"] == names(expand(join(folder, "**/*.txt")), folder)


def test_hidden_names_are_matched_only_where_spelt(folder: str) -> None:
    put(folder, "_a.csv", "b.csv", "_d/c.csv")

    assert ["_a.csv"] == names(expand(join(folder, "_*.csv")), folder)
    assert ["_a.csv"] == names(expand(join(folder, "_a.csv")), folder)
    assert ["_d/c.csv"] == names(expand(join(folder, "_d")), folder)
    assert ["b.csv"] == names(expand(join(folder, "*.csv")), folder)


def test_folder_above_the_pattern_may_have_a_hidden_name(folder: str) -> None:
    put(folder, "_old/a.csv", "_old/_b.csv")

    assert ["_old/a.csv"] == names(expand(join(folder, "_old/*.csv")), folder)


def test_each_file_is_listed_once_in_order(folder: str) -> None:
    put(folder, "b.csv", "a.csv")

    patterns = [join(folder, "b.csv"), folder, join(folder, "?.csv"), join(folder, "a.csv")]

    assert ["a.csv", "b.csv"] == names(expand(patterns), folder)


def test_files_written_since_the_last_listing_are_seen(folder: str) -> None:
    put(folder, "a.csv")
    expand(folder)
    put(folder, "b.csv")

    assert ["a.csv", "b.csv"] == names(expand(folder), folder)


@pytest.mark.parametrize("pattern", ["none.csv", "*.none", "none/"])
def test_pattern_without_a_match_is_named(folder: str, pattern: str) -> None:
    put(folder, "a.csv")

    with pytest.raises(NotFound) as caught:
        expand([folder, join(folder, pattern)])

    assert f"No file matches {join(folder, pattern)!r}. Check the path;" in str(caught.value)


def test_directory_with_hidden_files_only_matches_nothing(folder: str) -> None:
    put(folder, "sub/_a.csv")

    with pytest.raises(NotFound, match="names that begin with '_'"):
        expand(join(folder, "sub"))


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="No file was given"):
        expand([])


def test_file_whose_name_looks_like_a_pattern_is_found(tmp_path: Path) -> None:
    (tmp_path / "a[1].csv").touch()
    (tmp_path / "a1.csv").touch()

    assert [f"{tmp_path}/a[1].csv"] == expand(tmp_path / "a[1].csv")


def test_folder_markers_of_stores_are_no_files(bucket: str) -> None:
    put(bucket, "sub/a.csv")
    fsspec.filesystem("s3").call_s3("put_object", Bucket="tadka-test", Key="sub/", Body=b"")

    assert ["s3://tadka-test/sub/a.csv"] == expand(bucket)


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.csv").touch()
    (tmp_path / "link").symlink_to("real")

    assert [f"{tmp_path}/link/a.csv"] == expand(tmp_path / "link")


def test_stat_tells_size_and_a_version_that_changes_with_the_content(folder: str) -> None:
    uri = join(folder, "a.bin")
    found = []
    for content in (b"one", b"three"):
        with publish_file(uri) as file:
            file.write(content)
        found.append(stat(uri))

    assert [3, 5] == [each.size_bytes for each in found]
    assert resolve(uri)[1] == resolve(found[0].uri)[1]
    assert found[0].version != found[1].version
    assert found[1] == stat(uri)


def test_version_in_a_store_is_its_etag(bucket: str) -> None:
    put(bucket, "abc")
    info = fsspec.filesystem("s3").info("tadka-test/abc")

    assert info["ETag"].strip('"') == stat(join(bucket, "abc")).version


def test_version_of_a_local_file_is_its_time_in_nanoseconds(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.utime(tmp_path / "a", ns=(1, 1_700_000_000_123_456_789))

    assert "1700000000123456789" == stat(tmp_path / "a").version


def test_version_is_empty_where_the_file_system_knows_no_time(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(__file__, "a.csv")

    found = stat(f"tar://a.csv::file://{tmp_path}/a.tar")

    assert ("", Path(__file__).stat().st_size) == (found.version, found.size_bytes)


def test_files_in_archives_and_behind_caches_keep_their_chain(tmp_path: Path, memory: str) -> None:
    put(str(tmp_path), "a.csv")
    put(memory, "a.csv")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.csv", "sub/a.csv")

    in_archive = expand(f"zip://*/*.csv::{tmp_path}/a.zip")
    cached = expand(f"simplecache::{memory}/*.csv")
    cached_local = expand(f"simplecache::{tmp_path}/*.csv")

    assert [f"zip://sub/a.csv::{tmp_path}/a.zip"] == in_archive
    assert ["simplecache::memory:///folder/a.csv"] == cached
    assert [f"simplecache::file://{tmp_path}/a.csv"] == cached_local
    assert 5 == stat(in_archive[0]).size_bytes == stat(cached[0]).size_bytes


def test_stat_of_nothing_and_of_a_folder_fail(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        stat(tmp_path / "none")
    with pytest.raises(DataError, match="is a directory; it must be a file"):
        stat(tmp_path)


@pytest.mark.parametrize(
    ("uri", "parts", "joined"),
    [
        ("a", ("b",), "a/b"),
        ("a/", ("b", "c/d"), "a/b/c/d"),
        (Path("a"), ("b",), "a/b"),
        ("s3://bucket", ("key",), "s3://bucket/key"),
        ("memory://", ("key",), "memory://key"),
        ("/", ("a",), "/a"),
        ("a", (), "a"),
    ],
)
def test_join_puts_names_below(uri: str | Path, parts: tuple[str, ...], joined: str) -> None:
    assert joined == join(uri, *parts)


@pytest.mark.parametrize("part", ["", "/etc", "s3://other"])
def test_join_refuses_what_would_leave_the_folder(part: str) -> None:
    with pytest.raises(ConfigError, match="it must be relative, not empty"):
        join("a", part)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (IsADirectoryError(21, "Is a directory"), "is a directory; it must be a file"),
        (PermissionError(13, "denied"), "access denied. Check its permissions"),
        (ConnectionError("no route"), "'a.csv' cannot be read: no route."),
    ],
)
def test_errors_of_file_systems_become_data_errors(error: OSError, message: str) -> None:
    with pytest.raises(DataError) as caught, reading("a.csv"):
        raise error

    assert message in str(caught.value)
    assert error is caught.value.__cause__


def test_store_that_is_away_is_a_data_error(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = fsspec.get_filesystem_class("s3")(
        skip_instance_cache=True, config_kwargs={"retries": {"max_attempts": 0}}
    )
    away.retries = 1

    with (
        pytest.raises(DataError, match="cannot be read: Could not connect to the endpoint"),
        reading("s3://tadka-test/a"),
    ):
        away.info("tadka-test/a")

    assert 3 == len(store_errors())


@pytest.mark.parametrize("uri", ["a", "./a/b", "/tmp/x/", "~/x", "file:///tmp/x", "/tmp/a b", "/"])
def test_a_local_path_is_what_resolve_gives(uri: str) -> None:
    file_system, path = resolve(uri)

    assert is_local(file_system)
    assert path == local_path(uri)


@pytest.mark.parametrize("uri", ["", "memory://x", "simplecache::/tmp/x", "s3://b/k"])
def test_what_is_not_local_has_no_local_path(uri: str) -> None:
    assert local_path(uri) is None
