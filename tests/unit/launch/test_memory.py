import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from tadka.core.error import LaunchError
from tadka.core.resource import Resources
from tadka.launch import guard, memory
from tadka.launch.launcher import Exit, ProcessSpec
from tadka.launch.local import LocalLauncher
from tadka.launch.memory import Group, MemoryLimit, available_bytes, make_limit, own_groups
from tests.unit.launch.conftest import ended

SMALL = Resources(memory="64M")
# RLIMIT_DATA counts the stacks of library threads, too, used or not.
MIDDLE = Resources(memory="512M")


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.usefixtures("control_groups")
class TestControlGroup:
    def test_a_process_above_its_limit_is_out_of_memory(self, call: Callable[..., Exit]) -> None:
        result = call(lambda: len(bytearray(1 << 30)), resources=SMALL)

        assert "out of memory" == result.reason
        assert -9 == result.code
        assert "killed by the kernel at its memory limit of 64M" == str(result)

    def test_a_process_below_its_limit_finishes(self, call: Callable[..., Exit]) -> None:
        assert "finished" == call(lambda: len(bytearray(8 << 20)), resources=SMALL).reason

    def test_shared_memory_counts(self, call: Callable[..., Exit]) -> None:
        def share() -> None:
            descriptor = os.memfd_create("test")
            for _ in range(256):
                os.write(descriptor, bytes(1 << 20))

        assert "out of memory" == call(share, resources=SMALL).reason

    def test_being_killed_by_somebody_is_not_out_of_memory(self, call: Callable[..., Exit]) -> None:
        result = call(lambda: os.kill(os.getpid(), 9), resources=SMALL)

        assert "signal" == result.reason

    def test_the_group_goes_with_the_process(self, launcher: LocalLauncher) -> None:
        process = launcher.start(ProcessSpec(name="a", entry=print, resources=SMALL))
        assert process.limit is not None
        assert process.limit.group is not None
        assert Path(process.limit.group).is_dir()

        ended(process)

        assert not Path(process.limit.group).exists()

    def test_a_group_that_a_dead_launcher_left_is_swept(self) -> None:
        parent = memory.limit_parents()[0].path
        left = parent / f"{guard.PREFIX}left-{os.getpid()}"
        left.mkdir()

        limit = make_limit(f"{guard.PREFIX}new-{os.getpid()}", 1 << 26)

        assert not left.exists()
        assert limit.group is not None
        again = make_limit(f"{guard.PREFIX}third-{os.getpid()}", 1 << 26)
        assert Path(limit.group).exists()  # its maker lives
        limit.remove()
        again.remove()


class TestRlimit:
    @pytest.fixture
    def launcher(self, temporary: Path) -> LocalLauncher:
        return LocalLauncher(mechanism="rlimit")

    def run(self, launcher: LocalLauncher, num_bytes: int) -> Exit:
        with launcher:
            spec = ProcessSpec(name="a", entry=lambda: len(bytearray(num_bytes)), resources=MIDDLE)
            process = launcher.start(spec)
            assert process.limit == MemoryLimit(512 << 20, "rlimit")
            return ended(process)

    def test_a_process_above_its_limit_is_out_of_memory(self, launcher: LocalLauncher) -> None:
        result = self.run(launcher, 1 << 30)

        assert "out of memory" == result.reason
        assert "MemoryError" == str(result)

    def test_a_process_below_its_limit_finishes(self, launcher: LocalLauncher) -> None:
        assert "finished" == self.run(launcher, 8 << 20).reason

    def test_many_small_objects_are_out_of_memory_and_still_leave_a_message(
        self, launcher: LocalLauncher
    ) -> None:
        def pile() -> None:
            kept = []
            while True:
                kept.append(bytes(10_000))

        with launcher:
            spec = ProcessSpec(name="a", entry=pile, resources=MIDDLE)
            result = ended(launcher.start(spec))

        assert "out of memory" == result.reason
        assert "in pile" in result.detail


def test_a_mechanism_that_is_not_there_is_refused() -> None:
    there = {group.mechanism for group in memory.limit_parents()}
    absent: list[Literal["cgroup-v1", "cgroup-v2"]] = [
        name for name in ("cgroup-v1", "cgroup-v2") if name not in there
    ]
    assert absent, "no machine has both"

    with pytest.raises(LaunchError, match=f"cannot be limited by '{absent[0]}' here"):
        make_limit("a", 1 << 26, absent[0])


def test_available_memory_is_above_0_and_below_what_the_machine_has() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    assert 0 < available_bytes() < total


MOUNT_V1 = "35 31 0:32 {root} {point} rw,relatime - cgroup cgroup rw,memory\n"
MOUNT_V2 = "30 23 0:26 {root} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNT_CPU = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"


def groups_of(folder: Path, cgroup: str, mounts: str) -> list[Group]:
    tree(folder, {"cgroup": cgroup, "mounts": mounts})
    return own_groups(folder / "cgroup", folder / "mounts")


def test_the_group_of_version_1_is_found_by_its_controller(tmp_path: Path) -> None:
    top = tree(tmp_path / "memory", {"jobs/7/memory.limit_in_bytes": "9223372036854771712"})
    mounts = MOUNT_CPU + MOUNT_V1.format(root="/", point=top)

    groups = groups_of(tmp_path, "4:memory:/jobs/7\n1:cpu:/\n0::/\n", mounts)

    assert [Group("cgroup-v1", top / "jobs/7", top)] == groups


def test_the_group_of_version_2_is_found(tmp_path: Path) -> None:
    top = tree(tmp_path / "a b", {"user.slice/app.scope/cgroup.controllers": "cpu memory pids"})
    mounts = MOUNT_V2.format(root="/", point=str(top).replace(" ", "\\040"))

    groups = groups_of(tmp_path, "0::/user.slice/app.scope\n", mounts)

    assert [Group("cgroup-v2", top / "user.slice/app.scope", top)] == groups


def test_a_hierarchy_without_memory_does_not_count(tmp_path: Path) -> None:
    top = tree(tmp_path / "unified", {"cgroup.controllers": "hugetlb"})

    assert [] == groups_of(tmp_path, "0::/\n", MOUNT_V2.format(root="/", point=top))


@pytest.mark.parametrize("seen", ["/docker/123", "/../../docker/123"])
def test_in_a_container_the_mount_is_a_part_of_the_tree(tmp_path: Path, seen: str) -> None:
    top = tree(tmp_path / "memory", {"memory.limit_in_bytes": "100"})
    root = "/docker/123" if ".." not in seen else "/"

    groups = groups_of(tmp_path, f"4:memory:{seen}\n", MOUNT_V1.format(root=root, point=top))

    assert [Group("cgroup-v1", top, top)] == groups


class TestVersion2Parents:
    """Version 2 has no limits for children of a group that has processes itself."""

    def parents(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, files: dict[str, str]
    ) -> list[str]:
        top = tree(folder, files)
        own = Group("cgroup-v2", top / "app/job", top)
        monkeypatch.setattr(memory, "own_groups", lambda: [own])
        return [str(group.path.relative_to(top)) for group in memory.limit_parents()]

    def test_a_group_that_passes_memory_on_is_one(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        files = {"app/job/cgroup.subtree_control": "memory", "app/job/memory.max": "100"}

        assert ["app/job"] == self.parents(monkeypatch, tmp_path, files)

    def test_else_the_group_above_is_one(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        files = {
            "app/cgroup.subtree_control": "cpu memory",
            "app/job/cgroup.subtree_control": "",
            "app/job/memory.max": "max\n",
        }

        assert ["app"] == self.parents(monkeypatch, tmp_path, files)

    def test_but_not_when_a_child_would_escape_our_own_limit(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        files = {"app/cgroup.subtree_control": "memory", "app/job/memory.max": "1000000\n"}

        assert [] == self.parents(monkeypatch, tmp_path, files)

    def test_the_limit_is_written_and_swap_is_forbidden(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        files = {"app/job/cgroup.subtree_control": "memory"}
        self.parents(monkeypatch, tmp_path, files)

        limit = make_limit("new", 1 << 26)

        group = tmp_path / "app/job/new"
        assert limit == MemoryLimit(1 << 26, "cgroup-v2", str(group))
        assert str(1 << 26) == (group / "memory.max").read_text()
        assert "0" == (group / "memory.swap.max").read_text()
        (group / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n")
        assert 1 == limit.num_oom_kills()
        limit.enter()
        assert str(os.getpid()) == (group / "cgroup.procs").read_text()
        limit.remove()
