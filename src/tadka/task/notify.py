"""Tells somebody what happens in a build: a webhook of Slack and its like, or any function.

    build(task, on_event=notify("https://hooks.slack.com/services/...", on="failed"))

Messages leave from a thread of their own. A build never waits for them, and never fails for them.
"""

import atexit
import contextlib
import http.client
import json
import logging
import queue
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, get_args
from urllib.parse import urlsplit

from tadka.core.error import ConfigError
from tadka.task.define.declaration import closest
from tadka.task.engine.event import Event, EventKind

KINDS: tuple[str, ...] = get_args(EventKind)

_logger = logging.getLogger("tadka.task")

_MAX_WAITING = 1000  # messages in the queue; more are dropped and counted
_PAUSES_S = (0.5, 2.0)  # before each further attempt
_LONGEST_PAUSE_S = 5.0  # that a server may ask for
_TIMEOUT_S = 5.0  # of one attempt
_PATIENCE_S = 10.0  # for what still waits when the program ends
_LONGEST_TEXT = 3000  # letters


class NotSent(Exception):
    """A message could not be sent; the text says why, without the address."""


def notify(
    to: str | Callable[[Event], object],
    *,
    on: EventKind | Iterable[EventKind] = ("failed", "build finished"),
) -> "Notifier":
    """What `build(on_event=...)` takes to tell somebody of a build.

    Args:
        to: The URL of a webhook, which receives `{"text": ...}` as Slack, Mattermost, Discord
            (`.../slack`) and others understand it; or a function of the event, which is called in
            a thread.
        on: Of which events: `"build started"`, `"started"`, `"hit"`, `"finished"`, `"retried"`,
            `"failed"`, `"skipped"`, `"build finished"`.

    Returns:
        A function of an event that returns at once.

    Raises:
        ConfigError: The URL is none, or an event is unknown.
    """
    if isinstance(to, str):
        return Notifier(Webhook(to), on=on)
    if not callable(to):
        raise ConfigError(
            f"notify is given {type(to).__name__!r}; it must be the URL of a webhook, or a "
            "function of one event."
        )
    return Notifier(to, on=on)


class Notifier:
    """Calls a function with events, one after another, in a thread of its own.

    What it could not send it says in one warning of the log, when the build has ended. The event of
    a build's end is given the number of tasks that failed, as its `error`.

    Args:
        send: The function; what it raises counts as not sent.
        on: Kinds of events.
        max_waiting: Events that may wait; more are dropped.

    Raises:
        ConfigError: An event is unknown.
    """

    def __init__(
        self,
        send: Callable[[Event], object],
        *,
        on: EventKind | Iterable[EventKind] = ("failed", "build finished"),
        max_waiting: int = _MAX_WAITING,
    ) -> None:
        self._send = send
        self._kinds = _kinds(on)
        self._waiting: queue.Queue[Any] = queue.Queue(max_waiting)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._num_sent = 0
        self._num_failed = 0
        self._num_dropped = 0
        self._reason = ""
        self._bad: dict[str, Counter[str]] = {}  # run -> failed and skipped tasks

    def __call__(self, event: Event) -> None:
        """Takes an event, and returns at once.

        Args:
            event: Of a build.
        """
        if event.kind in {"failed", "skipped"}:
            self._bad.setdefault(event.run, Counter())[event.kind] += 1
        is_end = event.kind == "build finished"
        if is_end and (bad := self._bad.pop(event.run, None)) and not event.error:
            counts = [f"{bad[kind]} {kind}" for kind in ("failed", "skipped") if bad[kind]]
            event = replace(event, error=", ".join(counts))
        if event.kind in self._kinds:
            self._put(event)
        if is_end:
            self._put(_END)

    def close(self, timeout_s: float = _PATIENCE_S) -> None:
        """Waits for what is still to be sent; happens by itself when the program ends.

        Args:
            timeout_s: At most so long; what has not left by then is given up.
        """
        deadline = time.monotonic() + timeout_s
        waiting = self._waiting
        with waiting.all_tasks_done:
            while waiting.unfinished_tasks and (left_s := deadline - time.monotonic()) > 0:
                waiting.all_tasks_done.wait(left_s)
        with self._lock:
            with contextlib.suppress(queue.Empty):
                while True:  # given up
                    self._num_dropped += waiting.get_nowait() is not _END
                    waiting.task_done()
            if waiting.unfinished_tasks:
                self._num_dropped += 1  # on its way, and nobody will hear how it ends
            if self._thread is not None:
                waiting.put_nowait(_END)
        self._warn()

    def __repr__(self) -> str:
        return f"Notifier({_name(self._send)}, on={sorted(self._kinds, key=KINDS.index)})"

    def _put(self, event: Any) -> None:
        with self._lock:
            try:
                self._waiting.put_nowait(event)
            except queue.Full:
                self._num_dropped += event is not _END
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tadka notify", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def _work(self) -> None:
        """Sends until the build has ended and nothing waits."""
        while True:
            event = self._waiting.get()
            if event is _END:
                self._warn()
            else:
                self._send_one(event)
            with self._lock:
                self._waiting.task_done()
                if event is _END and self._waiting.empty():
                    self._thread = None
                    atexit.unregister(self.close)
                    return

    def _send_one(self, event: Any) -> None:
        try:
            self._send(event)
        except Exception as error:  # noqa: BLE001 - of others' code; a build must not fail for it
            self._num_failed += 1
            self._reason = str(error) if isinstance(error, NotSent) else type(error).__name__
        else:
            self._num_sent += 1

    def _warn(self) -> None:
        """Says once what was not sent since the last time."""
        with self._lock:
            sent, failed, dropped = self._num_sent, self._num_failed, self._num_dropped
            self._num_sent = self._num_failed = self._num_dropped = 0
        if not failed and not dropped:
            return
        reasons = [f"{failed} failed, the last with: {self._reason}"] if failed else []
        reasons += [f"{dropped} had no time to leave"] if dropped else []
        _logger.warning(
            "%d of %d messages of a build were not sent to %s: %s. The build is not touched by it.",
            failed + dropped,
            sent + failed + dropped,
            _name(self._send),
            "; ".join(reasons),
        )


class Webhook:
    """Sends events to an URL, as `POST` of JSON with `text`.

    A server that does not answer, or answers 429 or 5xx, is asked again twice, shortly after.
    The URL is a secret: it stands in no message and no repr, only its host does.

    Args:
        url: Of http or https.
        timeout_s: Of one attempt.
        pauses_s: Before each further attempt.
        body: What is sent of an event; a dict of plain values.

    Raises:
        ConfigError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = _TIMEOUT_S,
        pauses_s: Sequence[float] = _PAUSES_S,
        body: Callable[[Event], dict[str, Any]] | None = None,
    ) -> None:
        self._url = url
        self.host = _host_of(url)
        self._timeout_s = timeout_s
        self._pauses_s = tuple(pauses_s)
        self._body = _slack if body is None else body
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __call__(self, event: Event) -> None:
        """Sends one event.

        Args:
            event: Of a build.

        Raises:
            NotSent: It could not be sent.
        """
        data = json.dumps(self._body(event)).encode()
        for pause_s in (*self._pauses_s, None):
            reason, wanted_s = self._attempt(data)
            if not reason:
                return
            if wanted_s is None or pause_s is None:
                break
            time.sleep(min(max(pause_s, wanted_s), _LONGEST_PAUSE_S))
        raise NotSent(reason)

    def _attempt(self, data: bytes) -> tuple[str, float | None]:
        """Why it failed, and the seconds after which another attempt may help; None for never."""
        request = urllib.request.Request(  # noqa: S310 - http or https, as _host_of saw
            self._url, data, {"Content-Type": "application/json", "User-Agent": "tadka"}
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s):
                return "", None
        except urllib.error.HTTPError as error:
            with error:
                may_help = error.code == 429 or error.code >= 500
                reason = f"{error.code} {http.client.responses.get(error.code, '')}".strip()
                return reason, _seconds(error.headers.get("Retry-After")) if may_help else None
        except urllib.error.URLError as error:
            return _words(error.reason), 0.0
        except (OSError, http.client.HTTPException) as error:
            return _words(error), 0.0

    def __repr__(self) -> str:
        return f"Webhook({self.host})"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A message that is sent elsewhere would arrive as GET, without its text."""

    def redirect_request(self, *_: Any) -> None:
        return None


_END = object()


def text_of(event: Event) -> str:
    """One line about an event, for people.

    Args:
        event: Of a build.
    """
    name = "" if event.task is None else repr(event.task)
    took = "" if not event.seconds else f" in {_duration(event.seconds)}"
    place = f"({event.num_done}/{event.num_tasks})"
    reason = f": {event.error}" if event.error else ""
    where = f"on {socket.gethostname()}"
    if event.kind == "build started":
        text = f"Build {event.run} started {where}: {event.num_tasks} tasks."
    elif event.kind == "build finished":
        how = f"ended{took}{reason}." if event.error else f"finished{took}."
        text = f"Build {event.run} {where}: {event.num_done} of {event.num_tasks} tasks, {how}"
    elif event.kind == "hit":
        text = f"{name} was there already {place}."
    elif event.kind in {"failed", "retried"}:
        again = ", and is tried again" if event.kind == "retried" else ""
        text = f"{name} failed{took}{again} {place}{reason}"
    else:
        text = f"{name} {event.kind}{took} {place}{reason}"
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."


def _slack(event: Event) -> dict[str, Any]:
    text = text_of(event)  # the three letters that mean something to Slack
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def _kinds(on: str | Iterable[str]) -> frozenset[str]:
    kinds = [on] if isinstance(on, str) else list(on)
    for kind in kinds:
        if kind not in KINDS:
            hint = closest(str(kind), KINDS, "Events are ")
            raise ConfigError(f"notify has on={kind!r}, which is no event.{hint}")
    if not kinds:
        raise ConfigError(f"notify has no event in `on`; events are {', '.join(KINDS)}.")
    return frozenset(kinds)


def _host_of(url: str) -> str:
    """The part of an URL that may be shown; it is checked on the way, and never quoted."""
    wrong = "The URL of a webhook (not shown, it may be secret)"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{wrong} has no right host or port.") from None  # it quotes the URL
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"{wrong} must begin with https:// or http:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{wrong} has a user or password before its host; give a function to notify that "
            "sends them as a header."
        )
    if any(ord(letter) <= 32 or ord(letter) >= 127 for letter in url):
        raise ConfigError(f"{wrong} has a space or a letter outside ASCII; write it as %XX.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def _name(send: Callable[[Event], object]) -> str:
    if isinstance(send, Webhook):
        return send.host
    return str(getattr(send, "__qualname__", type(send).__qualname__))


def _words(error: object) -> str:
    """An error of the network, without what of it may hold the address."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _seconds(text: str | None) -> float:
    """Of a Retry-After header; 0 where it says a date or nothing."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else 0.0


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
