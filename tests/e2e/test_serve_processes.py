"""The processes of a server: how they start, share connections, die, are replaced, and end."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from pyarrow import ipc

from tadka.core.error import ConfigError, DataError, LaunchError, ServeError, TadkaError
from tadka.serve.client import Client
from tadka.serve.config import ServeConfig
from tadka.serve.prediction import method_path
from tadka.serve.process import Process
from tadka.serve.server import Server
from tests.serving import (
    DEADLINE_S,
    MODELS,
    Gate,
    Impression,
    Transport,
    children,
    eventually,
    has_ended,
    impressions,
    make_gated_store,
    make_model,
    serving,
    serving_alone,
)

ROW = impressions(1)[0]


@pytest.fixture
def gated(tmp_path: Path) -> tuple[Path, Gate]:
    return make_gated_store(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens at."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def client_of(server: Server) -> Client:
    return Client(f"127.0.0.1:{server.port}", timeout_s=DEADLINE_S)


def answers(client: Client) -> bool:
    """Whether the server answers a call; a broken connection may take one."""
    with contextlib.suppress(ServeError):
        return bool(client.predict(ROW).scores)
    return False


def num_open(server: Server) -> list[int]:
    """Connections of each worker, as these count them."""
    assert server._supervisor is not None
    slots = server._supervisor.board.workers
    return [int(slot["opened"]) - int(slot["closed"]) for slot in slots]


def pids(server: Server) -> list[int]:
    """Of workers that are ready."""
    assert server._supervisor is not None
    pool = server._supervisor.pool
    return [slot.process.pid for slot in pool if slot.process is not None and slot.is_ready]


# ---------------------------------------------------------------- start


def hide(*names: str) -> str:
    """Code after which these modules cannot be imported."""
    return f"""
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
"""


def test_scores_are_those_of_the_models_bit_for_bit(store: Path, transport: Transport) -> None:
    rows = impressions(100)

    with serving(store, transport, workers=2) as server, client_of(server) as client:
        predictions = client.predict_many(rows)

    for name in MODELS:
        expected = make_model(name).predict(rows).tolist()
        assert expected == [prediction[name] for prediction in predictions]


def test_without_the_compiled_server_grpcio_answers_the_same_and_a_warning_says_why(
    store: Path,
) -> None:
    rows = impressions(20)
    before = hide("tadka.serve.transport")

    with serving_alone(store, "auto", before) as program:
        with Client(f"127.0.0.1:{program.port}") as client:
            scores = [prediction["ctr"] for prediction in client.predict_many(rows)]
        program.popen.terminate()
        status, errors = program.end()

    assert make_model("ctr").predict(rows).tolist() == scores
    assert 0 == status
    assert 1 == errors.count("RuntimeWarning")
    assert "No module named 'tadka.serve.transport'" in errors
    assert "apt-get install libnghttp2-dev" in errors


def test_without_grpcio_as_well_the_extra_to_install_is_named(store: Path) -> None:
    before = hide("tadka.serve.transport", "grpc")

    with serving_alone(store, "auto", before) as program:
        status, errors = program.end()

    assert 1 == status
    assert "MissingExtra: " in errors
    assert "pip install 'tadka[serve]'" in errors


def test_the_compiled_server_is_not_replaced_where_it_was_asked_for(store: Path) -> None:
    with serving_alone(store, "native", hide("tadka.serve.loop")) as program:
        status, errors = program.end()

    assert 1 == status
    assert "ConfigError: Transport 'native' cannot run" in errors


def test_grpcio_chosen_by_the_environment_warns_of_nothing(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADKA_NATIVE", "0")

    with serving(store, "auto") as server, client_of(server) as client:
        assert "grpcio" == server.config.transport
        assert make_model("ctr").score(ROW) == client.predict(ROW)["ctr"]


def test_a_class_of_the_main_program_is_served(tmp_path: Path, transport: Transport) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import sys
from tadka.features import Features
from tadka.serve.client import Client
from tadka.serve.config import ServeConfig
from tadka.serve.store.custom import PythonModel
from tadka.serve.server import Server
from tadka.serve.store.store import Store

class Visit(Features):
    page: str
    @property
    def twice(self) -> str:
        return self.page * 2

class Half:
    def predict(self, rows):
        return [0.5 if row.twice == "aa" else 0.25 for row in rows]

if __name__ == "__main__":
    PythonModel(Half(), Visit).save("model")
    Store("store").publish("model", features=Visit)
    config = ServeConfig(store="store", port=0, workers=1, transport={transport!r})
    with Server(config, Visit) as server, Client(f"127.0.0.1:{{server.port}}") as client:
        print(client.predict(Visit("a")).score, client.predict(Visit("b")).score)
""",
        encoding="utf-8",
    )

    ran = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert ("0.5 0.25\n", 0) == (ran.stdout, ran.returncode), ran.stderr


@pytest.mark.parametrize("setting", ["port", "http_port"])
def test_a_port_in_use_is_named_with_the_option_that_changes_it(
    store: Path, transport: Transport, taken: int, setting: str
) -> None:
    option = "--" + setting.replace("_", "-")
    wanted = f"Port {taken} .* in use by another program; choose another {option}"
    settings: dict[str, Any] = {setting: taken}

    with pytest.raises(ConfigError, match=wanted), serving(store, transport, **settings):
        pass


@pytest.mark.parametrize("other", ["native", "grpcio"])
def test_two_servers_do_not_share_a_port(
    store: Path, transport: Transport, other: Transport
) -> None:
    with serving(store, transport) as server:
        for port in (server.port, server.http_port):
            with pytest.raises(ConfigError, match="in use"), serving(store, other, port=port):
                pass
        with client_of(server) as client:
            assert client.is_ready()


def test_a_prepared_server_has_its_ports_until_it_is_stopped(
    store: Path, transport: Transport
) -> None:
    server = Server(ServeConfig(store=str(store), port=0, workers=1, transport=transport))
    server.prepare()
    port = server.port
    server.prepare()
    assert port == server.port
    with pytest.raises(ConfigError, match="in use"), serving(store, transport, port=port):
        pass

    server.stop()

    with serving(store, transport, port=port) as other, client_of(other) as client:
        assert answers(client)


def test_a_prepared_server_starts(store: Path, transport: Transport) -> None:
    server = Server(ServeConfig(store=str(store), port=0, workers=1, transport=transport))
    server.prepare()
    port = server.port
    with server, client_of(server) as client:
        assert port == server.port
        assert answers(client)


def test_a_port_is_free_again_after_the_server(store: Path, transport: Transport) -> None:
    with serving(store, transport) as first, client_of(first) as client:
        client.predict(ROW)
    with serving(store, transport, port=first.port) as second, client_of(second) as client:
        assert answers(client)


def test_a_host_that_is_not_of_this_machine_is_refused(store: Path, transport: Transport) -> None:
    with (
        pytest.raises(ConfigError, match=r"192\.0\.2\.1.*--host"),
        serving(store, transport, host="192.0.2.1"),
    ):
        pass


def test_a_server_that_does_not_start_gives_its_ports_back(
    tmp_path: Path, transport: Transport
) -> None:
    server = Server(ServeConfig(store=str(tmp_path), port=0, workers=1, transport=transport))
    with pytest.raises(ConfigError, match="serves no model"):
        server.start()

    with socket.create_server(("127.0.0.1", server.port)) as other:
        assert other.getsockname()[1] == server.port


def test_an_empty_store_says_how_to_publish(tmp_path: Path, transport: Transport) -> None:
    with (
        pytest.raises(ConfigError, match=r"serves no model\. Publish one: tadka serve publish"),
        serving(tmp_path, transport),
    ):
        pass


def test_a_log_folder_that_cannot_be_written_is_refused(
    store: Path, transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(ConfigError, match=r"request log cannot be written to .*file"),
        serving(store, transport, log=str(tmp_path / "file")),
    ):
        pass


def test_a_damaged_model_is_told_by_start_and_no_process_is_left(
    store: Path, transport: Transport
) -> None:
    (store / "ctr" / "1" / "linear.npy").write_bytes(b"nothing")

    with (
        pytest.raises(DataError, match=r"linear\.npy"),
        serving(store, transport, workers=2),
    ):
        pass
    assert not children()["worker"]


def test_a_feature_class_that_is_not_found_is_told_by_start(
    store: Path, transport: Transport
) -> None:
    with (
        pytest.raises(TadkaError, match="no_such_module"),
        serving(store, transport, features="no_such_module:Impression"),
    ):
        pass


def test_a_server_starts_once(store: Path, transport: Transport) -> None:
    with (
        serving(store, transport) as server,
        pytest.raises(LaunchError, match="starts once only"),
    ):
        server.start()


def test_a_server_that_was_not_started_has_nothing_to_wait_for() -> None:
    with pytest.raises(LaunchError, match="has not been started"):
        Server().wait()


# ---------------------------------------------------------------- connections


def test_eight_connections_are_two_for_each_of_four_workers(store: Path, native: Transport) -> None:
    with serving(store, native, workers=4) as server, contextlib.ExitStack() as clients:
        for _ in range(8):
            clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))

        assert eventually(lambda: num_open(server) == [2, 2, 2, 2])


def test_a_connection_goes_to_the_worker_that_lost_one(store: Path, native: Transport) -> None:
    address = "127.0.0.1"
    with serving(store, native, workers=3) as server, contextlib.ExitStack() as clients:
        for _ in range(6):
            clients.enter_context(socket.create_connection((address, server.http_port)))
        assert eventually(lambda: num_open(server) == [2, 2, 2])
        with socket.create_connection((address, server.port)):
            assert eventually(lambda: sorted(num_open(server)) == [2, 2, 3])
        assert eventually(lambda: num_open(server) == [2, 2, 2])
        clients.enter_context(socket.create_connection((address, server.port)))

        assert eventually(lambda: sorted(num_open(server)) == [2, 2, 3])


def test_a_full_server_closes_new_connections_at_once(store: Path, native: Transport) -> None:
    with (
        serving(store, native, max_connections=1) as server,
        socket.create_connection(("127.0.0.1", server.port)),
    ):
        assert eventually(lambda: num_open(server) == [1])
        with (
            socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as second,
            contextlib.suppress(ConnectionResetError),
        ):
            assert b"" == second.recv(1)

        assert 1 == server.num_refused


def test_a_server_short_of_descriptors_accepts_when_it_has_some(
    store: Path, native: Transport
) -> None:
    with (
        serving_alone(store, native, spare_files=4) as program,
        contextlib.ExitStack() as clients,
    ):
        program.popen.send_signal(signal.SIGSTOP)  # so that all have come when it looks
        sockets = [
            clients.enter_context(
                socket.create_connection(("127.0.0.1", program.http_port), DEADLINE_S)
            )
            for _ in range(40)
        ]
        program.popen.send_signal(signal.SIGCONT)
        for client in sockets:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        heads = [client.recv(15) for client in sockets]
        program.popen.terminate()
        status, errors = program.end()

    assert [b"HTTP/1.1 200 OK"] * 40 == heads
    assert 0 == status
    assert 1 == errors.count("ulimit -n")


# ---------------------------------------------------------------- requests that fail


def test_a_property_that_raises_is_an_internal_error_and_the_worker_lives(
    store: Path, transport: Transport
) -> None:
    with serving(store, transport) as server, client_of(server) as client:
        before = pids(server)
        with pytest.raises(ServeError, match="a property that fails") as caught:
            client.predict(Impression(user="faulty"))
        assert answers(client)
        url = f"http://127.0.0.1:{server.http_port}/metrics"
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
            metrics = answer.read().decode()

        assert "INTERNAL" == caught.value.status
        assert before == pids(server)
        assert any(
            'status="INTERNAL"' in line and line.endswith(" 1") for line in metrics.splitlines()
        )


def test_calls_older_than_their_deadline_are_refused_without_compute(
    tmp_path: Path, native: Transport
) -> None:
    store, gate = make_gated_store(tmp_path, pause_s=0.3)
    num_calls = 700  # more than a batch has
    message = ROW.to_message()
    with (
        serving(store, native, deadline_ms=100, max_streams=1000) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        method = channel.unary_unary(method_path(Impression))
        gate.close()
        first = method.future(message)
        assert eventually(gate.calls)
        calls = [method.future(message) for _ in range(num_calls)]
        gate.open()
        codes = [call.code() for call in [first, *calls]]

    num_ok = codes.count(grpc.StatusCode.OK)
    assert num_ok == sum(gate.calls())
    assert num_calls + 1 - num_ok == codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) > 0


# ---------------------------------------------------------------- death


def test_a_killed_worker_is_replaced_and_the_others_go_on(store: Path, native: Transport) -> None:
    with (
        serving(store, native, workers=2) as server,
        client_of(server) as first,
        client_of(server) as second,
    ):
        for client in (first, second):
            client.predict(ROW)
        assert eventually(lambda: num_open(server) == [1, 1])
        assert server._supervisor is not None
        board = server._supervisor.board
        requests = board.workers["requests"].copy()
        first.predict(ROW)
        killed = int((board.workers["requests"] - requests).argmax())
        old = pids(server)

        os.kill(old[killed], signal.SIGKILL)

        for _ in range(20):
            second.predict(ROW)
        assert eventually(lambda: len(pids(server)) == 2 and old[killed] not in pids(server))
        assert old[1 - killed] in pids(server)
        assert eventually(lambda: answers(first))
        assert eventually(lambda: sum(num_open(server)) == 2)


def test_clients_of_a_killed_worker_come_back(store: Path, transport: Transport) -> None:
    with serving(store, transport) as server, client_of(server) as client:
        client.predict(ROW)
        (old,) = pids(server)

        os.kill(old, signal.SIGKILL)

        assert eventually(lambda: pids(server) not in ([], [old]))
        assert eventually(lambda: answers(client))


def test_a_worker_that_is_told_to_end_finishes_its_calls_and_is_replaced(
    gated: tuple[Path, Gate], transport: Transport
) -> None:
    store, gate = gated
    with (
        serving(store, transport) as server,
        client_of(server) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        gate.close()
        call = threads.submit(client.predict, ROW)
        assert eventually(gate.calls)
        (old,) = pids(server)

        os.kill(old, signal.SIGTERM)
        gate.open()

        assert 0.5 == call.result().score
        assert eventually(lambda: pids(server) not in ([], [old]))
        assert eventually(lambda: answers(client))


def test_workers_that_die_again_and_again_end_the_server(store: Path, transport: Transport) -> None:
    with serving(store, transport) as server:
        killed: set[int] = set()
        for _ in range(3):
            assert eventually(lambda: set(pids(server)) - killed)
            for pid in pids(server):
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)

        with pytest.raises(LaunchError, match=r"No worker is left.*SIGKILL"):
            server.wait(DEADLINE_S)


def test_a_worker_that_dies_while_descriptors_are_short_is_replaced_when_there_are_some(
    store: Path, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    pidfd_open = os.pidfd_open
    refused: list[int] = []

    def refuse_first(pid: int, flags: int = 0) -> int:
        if not refused:
            refused.append(pid)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return pidfd_open(pid, flags)

    with serving(store, transport) as server, client_of(server) as client:
        client.predict(ROW)
        (old,) = pids(server)
        monkeypatch.setattr(os, "pidfd_open", refuse_first)

        os.kill(old, signal.SIGKILL)

        assert eventually(lambda: refused and pids(server) not in ([], [old], refused))
        assert eventually(lambda: answers(client))


def test_a_worker_that_is_replaced_finds_a_store_of_a_relative_path(
    store: Path, transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store.parent)
    with (
        serving(store.name, transport, log="log", log_share=1.0) as server,
        client_of(server) as client,
    ):
        client.predict(ROW)
        (old,) = pids(server)
        (writer,) = children()["log"]
        monkeypatch.chdir("/")

        os.kill(old, signal.SIGKILL)
        writer.kill()

        assert eventually(lambda: pids(server) not in ([], [old]))
        assert eventually(lambda: answers(client))

    rows = [ipc.open_file(file).read_all().num_rows for file in tmp_path.glob("log/*.arrow")]
    assert sum(rows) >= len(MODELS)


def test_answers_go_on_while_no_log_writer_can_be_started(
    store: Path, transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    refused: list[str] = []

    def refuse_twice(name: str, *others: Any) -> Process:
        if name == "tadka-serve-log" and len(refused) < 2:
            refused.append(name)
            raise LaunchError(f"{name} cannot be started: Too many open files.")
        return Process(name, *others)

    with (
        serving(store, transport, log=str(log), log_share=1.0) as server,
        client_of(server) as client,
    ):
        client.predict(ROW)
        (writer,) = children()["log"]
        monkeypatch.setattr("tadka.serve.workers.supervisor.Process", refuse_twice)

        writer.kill()

        assert eventually(lambda: refused)
        client.predict(ROW)
        assert eventually(lambda: [w for w in children()["log"] if w.pid != writer.pid])
        client.predict(ROW)

    rows = sum(ipc.open_file(file).read_all().num_rows for file in log.glob("*.arrow"))
    assert 3 * len(MODELS) == rows
    assert 2 == len(refused)


def test_a_killed_log_writer_is_replaced_and_answers_go_on(
    store: Path, transport: Transport, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with (
        serving(store, transport, log=str(log), log_share=1.0) as server,
        client_of(server) as client,
    ):
        client.predict(ROW)
        (writer,) = children()["log"]

        writer.kill()

        client.predict(ROW)
        assert eventually(lambda: [w for w in children()["log"] if w.pid != writer.pid])
        client.predict(ROW)

    rows = sum(ipc.open_file(file).read_all().num_rows for file in log.glob("*.arrow"))
    assert 3 * len(MODELS) == rows


def test_all_processes_end_with_a_killed_parent(
    store: Path, transport: Transport, tmp_path: Path
) -> None:
    log = str(tmp_path / "log")
    with serving_alone(store, transport, workers=2, log=log) as program:
        found = children(program.popen.pid)

        program.popen.kill()

        assert (2, 1) == (len(found["worker"]), len(found["log"]))
        assert all(has_ended(process) for process in [*found["worker"], *found["log"]])


# ---------------------------------------------------------------- the end


def test_calls_in_flight_finish_after_sigterm_and_the_status_is_0(
    gated: tuple[Path, Gate], transport: Transport
) -> None:
    store, gate = gated
    with serving_alone(store, transport) as program, ThreadPoolExecutor(1) as threads:
        workers = children(program.popen.pid)["worker"]
        with Client(f"127.0.0.1:{program.port}", timeout_s=DEADLINE_S) as client:
            gate.close()
            call = threads.submit(client.predict, ROW)
            assert eventually(gate.calls)

            program.popen.terminate()

            assert eventually(lambda: not is_listening(program.port) or transport == "grpcio")
            gate.open()
            assert 0.5 == call.result().score
        assert (0, "") == program.end()
        assert all(has_ended(worker) for worker in workers)


def test_what_does_not_finish_in_the_grace_time_is_killed(
    gated: tuple[Path, Gate], transport: Transport
) -> None:
    store, gate = gated
    with (
        serving_alone(store, transport, grace_s=0.2) as program,
        ThreadPoolExecutor(1) as threads,
        Client(f"127.0.0.1:{program.port}", timeout_s=DEADLINE_S) as client,
    ):
        gate.close()
        call = threads.submit(client.predict, ROW)
        assert eventually(gate.calls)

        program.popen.terminate()

        status, _ = program.end()
        assert 0 == status
        with pytest.raises(ServeError):
            call.result()


def test_a_second_signal_ends_everything_at_once(
    gated: tuple[Path, Gate], transport: Transport
) -> None:
    store, gate = gated
    with (
        serving_alone(store, transport, grace_s=1000) as program,
        ThreadPoolExecutor(1) as threads,
        Client(f"127.0.0.1:{program.port}", timeout_s=DEADLINE_S) as client,
    ):
        gate.close()
        call = threads.submit(client.predict, ROW)
        assert eventually(gate.calls)
        workers = children(program.popen.pid)["worker"]

        program.popen.send_signal(signal.SIGINT)
        # A signal that comes while the same one waits is lost, so two different ones.
        program.popen.send_signal(signal.SIGTERM)

        status, _ = program.end()
        assert status in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        assert all(has_ended(worker) for worker in workers)
        with pytest.raises(ServeError):
            call.result()


def test_a_second_signal_does_not_wait_for_the_log_writer(
    store: Path, transport: Transport, tmp_path: Path
) -> None:
    log = str(tmp_path / "log")
    with serving_alone(store, transport, log=log, log_share=1.0, grace_s=1000) as program:
        found = children(program.popen.pid)
        (worker,), (writer,) = found["worker"], found["log"]
        writer.suspend()

        program.popen.send_signal(signal.SIGINT)
        assert has_ended(worker)
        program.popen.send_signal(signal.SIGTERM)

        status, errors = program.end()
    assert 128 + signal.SIGTERM == status
    assert has_ended(writer)
    assert "The log writer is still at work and is killed." in errors
    assert "started again" not in errors


def test_the_terminals_sigint_reaches_workers_without_harm(
    store: Path, transport: Transport
) -> None:
    with serving(store, transport) as server, client_of(server) as client:
        before = pids(server)

        for pid in before:
            os.kill(pid, signal.SIGINT)

        assert answers(client)
        assert before == pids(server)


def test_a_server_may_be_stopped_by_several_threads_and_again(
    store: Path, transport: Transport
) -> None:
    config = ServeConfig(store=str(store), port=0, workers=1, transport=transport)
    server = Server(config)
    server.start()
    threads = [threading.Thread(target=server.stop) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    server.stop()

    assert server.wait(0)
    assert not children()["worker"]


def is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
