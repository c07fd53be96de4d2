from tadka.core.resource import Resources
from tadka.launch.launcher import Exit, Launcher, Process, ProcessSpec
from tadka.launch.local import LocalLauncher, LocalProcess


def test_the_local_launcher_keeps_the_protocol() -> None:
    def start(launcher: Launcher) -> Process:  # checked by mypy
        return launcher.start(ProcessSpec(name="a", entry=print))

    launcher: type[Launcher] = LocalLauncher
    process: type[Process] = LocalProcess
    for protocol, kept in ((Launcher, launcher), (Process, process)):
        missing = {n for n in vars(protocol) if not n.startswith("_")} - set(dir(kept))
        assert missing <= {"name", "pid"}  # set by the constructor
    assert callable(start)


def test_a_spec_asks_for_one_core_and_no_limit_unless_told() -> None:
    spec = ProcessSpec(name="a", entry=print)

    assert Resources() == spec.resources
    assert {} == spec.env
    assert 0 == spec.num_ranks


def test_an_exit_reads_as_its_last_line() -> None:
    text = "Traceback (most recent call last):\n  ...\nValueError: no rows\n"

    assert "ValueError: no rows" == str(Exit(reason="error", code=1, detail=text))
    assert "stopped" == str(Exit(reason="stopped", code=-9))


def test_only_finishing_and_being_stopped_are_no_failures() -> None:
    def is_failure(reason: object) -> bool:
        return Exit(reason=reason, code=1).is_failure  # type: ignore[arg-type]

    assert not is_failure("finished")
    assert not is_failure("stopped")
    assert is_failure("error")
    assert is_failure("signal")
    assert is_failure("out of memory")
    assert is_failure("silent")
    assert is_failure("timeout")
