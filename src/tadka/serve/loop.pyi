import socket

from tadka.serve.answer.handler import Handler
from tadka.serve.board import Counts
from tadka.serve.config import ServeConfig
from tadka.serve.log.ring import Ring
from tadka.serve.store.live import Live, Serving
from tadka.serve.transport import Transport

class Table:
    serving: Serving

    def __init__(self, serving: Serving, counts: Counts) -> None: ...
    def choose(self, model: int, message: bytes) -> int: ...

class Loop:
    def __init__(
        self,
        transport: Transport,
        live: Live,
        handler: Handler,
        counts: Counts,
        ring: Ring | None,
        config: ServeConfig,
    ) -> None: ...
    def run(self, control: socket.socket) -> None: ...
