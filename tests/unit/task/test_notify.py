import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.task.define.task import Task
from tadka.task.engine.build import build
from tadka.task.engine.event import Event
from tadka.task.engine.report import BuildError
from tadka.task.notify import KINDS, Notifier, NotSent, Webhook, notify, text_of
from tests.unit.task.shop import Clicks, Link

SECRET = "T000/B000/s3cr3t"


def event(kind: Any, **values: Any) -> Event:
    return Event(kind, "r1", num_done=1, num_tasks=3, **values)


@dataclass
class Receiver:
    """A server on this machine that answers as it is told, then with 200."""

    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[Any] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    hold: threading.Event | None = None  # answers nothing until it is set
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/{SECRET}"

    @property
    def texts(self) -> list[str]:
        return [body["text"] for body in self.bodies]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            state.methods.append(f"{self.command} {self.headers['Content-Type']}")
            state.bodies.append(json.loads(data))
            state.paths.append(self.path)
            if state.hold is not None:
                state.hold.wait(30)
            self.send_response(state.answers.pop(0) if state.answers else 200)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the library's name

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    if state.hold is not None:
        state.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


def hook(receiver: Receiver, **settings: Any) -> Webhook:
    return Webhook(receiver.url, pauses_s=(0.0, 0.0), **settings)


def test_webhook_receives_json_with_text(receiver: Receiver) -> None:
    notifier = notify(receiver.url, on=["failed", "finished"])
    task = Link(number=3)

    notifier(event("started", task=task))
    notifier(event("finished", task=task, seconds=75.0))
    notifier(event("failed", task=task, error="ValueError: <b> & c"))
    notifier.close()

    assert ["POST application/json"] * 2 == receiver.methods
    assert [f"/services/{SECRET}"] * 2 == receiver.paths
    assert [
        "Link(number=3, before=None) finished in 1 min 15 s (1/3)",
        "Link(number=3, before=None) failed (1/3): ValueError: &lt;b&gt; &amp; c",
    ] == receiver.texts


def test_the_end_of_a_build_tells_how_many_failed(receiver: Receiver) -> None:
    notifier = notify(receiver.url, on="build finished")

    for kind in ("failed", "failed", "skipped", "hit"):
        notifier(event(kind))
    notifier(event("build finished", seconds=2.0))
    notifier(event("build finished"))
    notifier.close()

    assert receiver.texts[0].endswith("1 of 3 tasks, ended in 2 s: 2 failed, 1 skipped.")
    assert receiver.texts[1].endswith("1 of 3 tasks, finished.")


def test_builds_tell_it(receiver: Receiver, tmp_path: Path) -> None:
    notifier = notify(receiver.url, on=["build started", "finished", "failed", "build finished"])

    assert {} == build(Clicks(), workspace=tmp_path, on_event=notifier)
    with pytest.raises(BuildError):
        build(Failing(), workspace=tmp_path, on_event=notifier)
    notifier.close()

    words = [text.split(" on ")[0].split(" (")[0] for text in receiver.texts]
    assert words[0].endswith("started")
    assert words[1].startswith("Clicks(")
    assert ": 1 of 1 tasks, finished in " in receiver.texts[2]
    assert words[4].startswith("Failing")
    assert "ValueError: no clicks" in receiver.texts[4]
    assert receiver.texts[5].endswith(": 1 failed.")


class Failing(Task[int]):
    def run(self) -> int:
        raise ValueError("no clicks")


def test_body_can_be_another(receiver: Receiver) -> None:
    notifier = Notifier(hook(receiver, body=lambda event: {"kind": event.kind}), on="hit")

    notifier(event("hit"))
    notifier.close()

    assert [{"kind": "hit"}] == receiver.bodies


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(
    status: int, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [status, status]
    notifier = Notifier(hook(receiver), on="failed")

    notifier(event("failed"))
    notifier.close()

    assert 3 == len(receiver.bodies)
    assert [] == caplog.records


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (500, 3), (307, 1), (302, 1)])
def test_what_was_not_sent_is_warned_of_once_and_without_the_url(
    status: int, attempts: int, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [status] * 2 * attempts
    receiver.headers = {"Location": receiver.url}
    notifier = Notifier(hook(receiver), on="failed")

    notifier(event("failed"))
    notifier(event("failed"))
    notifier(event("build finished"))
    notifier.close()
    notifier.close()

    assert 2 * attempts == len(receiver.bodies)
    [record] = caplog.records
    assert logging.WARNING == record.levelno
    assert (
        f"2 of 2 messages of a build were not sent to http://127.0.0.1:{receiver.port}: 2 failed"
        in (record.getMessage())
    )
    assert str(status) in record.getMessage()
    assert "s3cr3t" not in record.getMessage()


def test_a_port_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    notifier = Notifier(Webhook(f"http://127.0.0.1:{port}/{SECRET}", pauses_s=[0.0]), on="failed")

    notifier(event("failed"))
    notifier.close()

    assert "Connection refused" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_a_server_that_does_not_answer_holds_nobody(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.hold = threading.Event()
    notifier = Notifier(hook(receiver, timeout_s=30), on="finished", max_waiting=10)

    began = time.monotonic()
    for _ in range(100):
        notifier(event("finished"))
    notifier(event("build finished"))
    took_s = time.monotonic() - began
    notifier.close(timeout_s=0.05)

    assert took_s < 1
    assert "100 of 100 messages" in caplog.text
    assert "100 had no time to leave" in caplog.text


def test_an_answer_that_is_late_is_given_up(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.hold = threading.Event()
    notifier = Notifier(Webhook(receiver.url, timeout_s=0.05, pauses_s=()), on="failed")

    notifier(event("failed"))
    notifier.close()

    assert "1 of 1 messages" in caplog.text
    assert "no answer in time" in caplog.text


def test_a_function_is_called_in_order_and_may_raise(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def tell(event: Event) -> None:
        seen.append(event.kind)
        if event.kind == "failed":
            raise RuntimeError(SECRET)

    notifier = notify(tell, on=["started", "failed", "finished", "build finished"])
    for kind in ("started", "hit", "failed", "finished", "build finished"):
        notifier(event(kind))
    notifier.close()

    assert ["started", "failed", "finished", "build finished"] == seen
    assert "1 of 4 messages" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_one_notifier_serves_several_builds_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    seen: list[str] = []
    notifier = notify(lambda event: seen.append(event.run), on="build finished")

    for number in range(20):
        notifier(replace(event("build finished"), run=str(number)))
    notifier.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)

    assert [str(number) for number in range(20)] == seen
    assert not set(threading.enumerate()) - before


def test_a_program_that_ends_waits_for_its_messages(receiver: Receiver) -> None:
    code = (
        "from tadka.task.engine.event import Event\n"
        "from tadka.task.notify import notify\n"
        f"hook = notify({receiver.url!r})\n"
        "hook(Event('build finished', 'r', seconds=1.0, num_done=2, num_tasks=2))\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    [text] = receiver.texts
    assert text.startswith("Build r on ")
    assert text.endswith(": 2 of 2 tasks, finished in 1 s.")


@pytest.mark.parametrize(
    "url",
    [
        f"hooks.slack.com/{SECRET}",
        f"ftp://x/{SECRET}",
        f"file:///{SECRET}",
        f"https:///{SECRET}",
        f"https://x:port/{SECRET}",
        f"https://[x/{SECRET}",
        f"https://user:{SECRET.replace('/', '')}@x/",
        f"https://x/{SECRET} y",
        f"https://x/{SECRET}\r\nHost: y",
        f"https://x/{SECRET}é",
        "",
    ],
)
def test_a_wrong_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        notify(url)

    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_repr_shows_the_host_only() -> None:
    notifier = notify(f"https://hooks.slack.com/services/{SECRET}?token=s3cr3t")

    assert "Notifier(https://hooks.slack.com, on=['failed', 'build finished'])" == repr(notifier)


@pytest.mark.parametrize(
    ("on", "words"),
    [("fail", "Did you mean 'failed'"), (["hit", "done"], "'done'"), ([], "no event")],
)
def test_unknown_events_are_refused(on: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        notify(print, on=on)


def test_something_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="'int'"):
        notify(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_has_a_text(kind: str) -> None:
    task = None if kind.startswith("build") else Link(number=1)

    text = text_of(event(kind, task=task, seconds=0.5, error="ValueError: " + "x" * 9000))

    assert ("Build r1" if task is None else "Link(number=1") in text
    assert len(text) <= 3000


def test_not_sent_is_raised_by_the_webhook_itself(receiver: Receiver) -> None:
    receiver.answers = [400]

    with pytest.raises(NotSent, match="400 Bad Request"):
        hook(receiver)(event("failed"))
