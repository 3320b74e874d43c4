"""ONNX Runtime's own weight-only quantizer on square matrices, for conversion.ts to compare with.

Usage: matmul-nbits.py FOLDER SIZE MATRICES; prints one JSON object. The model is made once per folder.
"""

import json
import os
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime.capi._pybind_state import quantize_matmul_4bits
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

BLOCK = 32


def write_model(path: str, size: int, count: int) -> None:
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal((size, size), dtype=np.float32) for _ in range(count)]
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(count)]
    initializers = [
        helper.make_tensor(f"w{i}", TensorProto.FLOAT, w.shape, w.tobytes(), raw=True) for i, w in enumerate(weights)
    ]
    values = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["t", size]) for i in (0, count)]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path, save_as_external_data=True, location=os.path.basename(path) + ".data")


def kernel_seconds(size: int) -> float:
    """Best of several runs of the C++ kernel alone, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    weight = np.random.default_rng(1).standard_normal((size, size), dtype=np.float32)
    packed = np.zeros((size, size // BLOCK, BLOCK // 2), np.uint8)
    scales = np.zeros(size * size // BLOCK, np.float32)
    zero_points = np.zeros(size * ((size // BLOCK + 1) // 2), np.uint8)
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        quantize_matmul_4bits(packed, weight, scales, zero_points, BLOCK, size, size, True)
        best = min(best, time.perf_counter() - started)
    os.sched_setaffinity(0, cores)
    return best


def conversion_seconds(source: str, target: str) -> tuple[float, float]:
    """File to file, as a user of the quantizer does it; by the clock and of the processor."""
    started, before = time.perf_counter(), time.process_time()
    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=BLOCK, is_symmetric=True)
    quantizer.process()
    quantizer.model.save_model_to_file(target, use_external_data_format=True)
    return time.perf_counter() - started, time.process_time() - before


folder, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
kernel = kernel_seconds(size)
source = os.path.join(folder, "matrices.onnx")
if not os.path.exists(source):
    write_model(source, size, count)
with tempfile.TemporaryDirectory(dir=folder) as results:
    conversion, processor = conversion_seconds(source, os.path.join(results, "matrices-nbits.onnx"))
print(json.dumps({"kernel": kernel, "conversion": conversion, "processor": processor}))
