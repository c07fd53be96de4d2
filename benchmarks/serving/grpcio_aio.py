"""grpc.aio: ``python -m serving.grpcio_aio PORT default|uvloop``."""

import asyncio
import sys

import grpc

from serving import rows


async def serve(port: int) -> None:
    score, make_reply = rows.message_scorer(), rows.reply_class()

    async def predict(message: bytes, _: grpc.aio.ServicerContext) -> bytes:
        return make_reply(score=score(message)).SerializeToString()

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(predict)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Predictor", {"Predict": method}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(serve(int(sys.argv[1])))
    else:
        asyncio.run(serve(int(sys.argv[1])))
