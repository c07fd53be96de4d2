# Types of the compiled module; the words are in generator.pyx.

from collections.abc import Iterable, Sequence
from typing import Any

PROTOCOLS: dict[str, int]

class Generator:
    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        messages: Iterable[bytes],
        *,
        connections: int = 4,
        streams: int = 8,
        protocol: str = "grpc",
        metadata: Iterable[tuple[str, str]] = (),
        timeout_s: float = 10.0,
        deadline_ms: int = 0,
        expected: Sequence[bytes] | Sequence[Sequence[bytes]] | None = None,
        versions: bool = False,
        keep_answers: bool = False,
    ) -> None: ...
    def run(
        self,
        *,
        seconds: float = 0.0,
        count: int = 0,
        rate: float = 0.0,
        poisson: bool = False,
        seed: int = 1,
        warmup_s: float = 0.0,
        max_backlog: int = 10_000,
    ) -> dict[str, Any]: ...
    def answers(self) -> list[bytes | None]: ...
