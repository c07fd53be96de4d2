"""LitServe: ``python -m serving.litserve_app PORT``."""

import sys
from typing import Any

import litserve

from serving import rows
from serving.schema import Row


class Ctr(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe calls it so
        self.score = rows.row_scorer()

    def decode_request(self, request: Row) -> Any:
        return request

    def predict(self, x: Any) -> float:
        return self.score(x)

    def encode_response(self, output: float) -> dict[str, float]:
        return {"score": output}


if __name__ == "__main__":
    server = litserve.LitServer(Ctr(), accelerator="cpu")
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
