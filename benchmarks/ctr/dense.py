"""A small network, 30-64-32-1 with relu, in ONNX Runtime and in numpy."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ctr import clicks

WIDTHS = (clicks.NUM_FEATURES, 64, 32, 1)
Score = tuple[Callable[[Any], Any], list[Any]]


def layers() -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Weights (in, out) and bias of each layer."""
    random = np.random.default_rng(17)
    return [
        (
            random.normal(0.0, math.sqrt(2 / wide), (wide, narrow)).astype(np.float32),
            random.normal(0.0, 0.1, narrow).astype(np.float32),
        )
        for wide, narrow in pairwise(WIDTHS)
    ]


def rows() -> npt.NDArray[np.float32]:
    """20,000 rows of 30 numbers."""
    random = np.random.default_rng(19)
    return random.normal(0.0, 1.0, (20_000, clicks.NUM_FEATURES)).astype(np.float32)


def onnxruntime() -> Score:
    """A session of one thread, one `run` a row."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, before = [], [], "x"
    for number, (weights, bias) in enumerate(layers()):
        last = number == len(WIDTHS) - 2
        constants += [
            numpy_helper.from_array(weights, f"w{number}"),
            numpy_helper.from_array(bias, f"b{number}"),
        ]
        names = [before, f"w{number}", f"b{number}"]
        nodes.append(helper.make_node("Gemm", names, [f"h{number}"]))
        after = "score" if last else f"a{number}"
        nodes.append(helper.make_node("Sigmoid" if last else "Relu", [f"h{number}"], [after]))
        before = after
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, clicks.NUM_FEATURES])]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 1])]
    graph = helper.make_graph(nodes, "mlp", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers)
    run = session.run
    return lambda row: run(None, {"x": row})[0][0, 0], [row.reshape(1, -1) for row in rows()]


def numpy() -> Score:
    """Three products of a vector and a matrix."""
    (w0, b0), (w1, b1), (w2, b2) = layers()
    maximum, exp = np.maximum, math.exp

    def score(row: Any) -> float:
        hidden = maximum(row @ w0 + b0, 0.0)
        hidden = maximum(hidden @ w1 + b1, 0.0)
        return 1.0 / (1.0 + exp(-(hidden @ w2 + b2)[0]))

    return score, list(rows())
