"""grpcio, synchronous: ``python -m serving.grpcio_sync PORT default|tuned``."""

import gc
import sys
from concurrent import futures

import grpc

from serving import rows

NUM_THREADS = 4


def main(port: int, way: str) -> None:
    score, make_reply = rows.message_scorer(), rows.reply_class()

    def predict(message: bytes, _: grpc.ServicerContext) -> bytes:
        return make_reply(score=score(message)).SerializeToString()

    options: list[tuple[str, object]] = []
    if way == "tuned":
        # More or fewer threads, and longer turns of the interpreter, were tried and are slower; the
        # collector need not look at what was made at the start.
        options = [("grpc.optimization_target", "throughput")]
        gc.collect()
        gc.freeze()
    server = grpc.server(futures.ThreadPoolExecutor(NUM_THREADS), options=options)
    method = grpc.unary_unary_rpc_method_handler(predict)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Predictor", {"Predict": method}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
