"""tadka: ``python -m serving.tadka_server PORT STORE native|grpcio [LOG|COALESCE_US]``."""

import sys

from tadka.serve.config import ServeConfig
from tadka.serve.server import Server


def main(port: str, store: str, transport: str, more: str = "") -> int:
    settings = {"coalesce_us": int(more)} if more.isdigit() else {"log": more or None}
    config = ServeConfig(
        store=store, port=int(port), http_port=0, workers=1, transport=transport, **settings
    )
    return Server(config).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
