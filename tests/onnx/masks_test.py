"""Attention whose masks and biases go by query and key is one step, and gives what ONNX Runtime gives: from the file, from an engine file, exported.

usage: masks_test.py BERTIE

A layer in the ops of PyTorch's exporter, each with another mask: of three axes, causal, of the caller's own numbers, by head, and a padding mask beside.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

BATCH, LENGTH, HEADS, HEAD_DIM = 3, 37, 4, 32
WIDTH = HEADS * HEAD_DIM
LOWEST = float(np.finfo(np.float32).min)
BOUND = 2e-6


class Layer:
    """Builds y = attention(x) + x; `mask` gives scores from scores."""

    def __init__(self, mask):
        self.nodes, self.constants, self.inputs, self.count = [], [], [], 0
        random = np.random.default_rng(5)
        self.random = random
        self.feed = {}
        x = self.input("x", random.standard_normal((BATCH, LENGTH, WIDTH)).astype(np.float32), ["batch", "sequence", WIDTH])
        q, k, v = (self.heads(self.linear(x)) for _ in range(3))
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.op("Div", scores, self.number(np.sqrt(HEAD_DIM)))
        weights = self.op("Softmax", mask(self, scores), axis=-1)
        context = self.op("Transpose", self.op("MatMul", weights, v), perm=[0, 2, 1, 3])
        y = self.op("Add", self.op("Reshape", context, self.integers(0, 0, WIDTH)), x)
        self.nodes[-1].output[0] = "y"
        del y
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", WIDTH])
        graph = helper.make_graph(self.nodes, "layer", self.inputs, [output], self.constants)
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def op(self, kind, *inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(kind, list(inputs), [f"v{self.count}"], name=f"{kind}_{self.count}", **attributes))
        return f"v{self.count}"

    def constant(self, array):
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def number(self, x):
        return self.constant(np.asarray(x, np.float32))

    def integers(self, *numbers):
        return self.constant(np.asarray(numbers, np.int64))

    def input(self, name, array, shape):
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape))
        self.feed[name] = array
        return name

    def linear(self, x):
        product = self.op("MatMul", x, self.constant((self.random.standard_normal((WIDTH, WIDTH)) / 8).astype(np.float32)))
        return self.op("Add", product, self.constant(self.random.standard_normal(WIDTH).astype(np.float32)))

    def heads(self, x):
        return self.op("Transpose", self.op("Reshape", x, self.integers(0, 0, HEADS, HEAD_DIM)), perm=[0, 2, 1, 3])

    def floats(self, name, shape, named):
        return self.input(name, self.random.standard_normal(shape).astype(np.float32), named)

    def mask(self, shape, named):
        """Of 0 and 1; each query may attend to itself."""
        mask = (self.random.random(shape) < 0.7).astype(np.int64)
        if len(shape) == 3:
            mask[:, np.arange(LENGTH), np.arange(LENGTH)] = 1
        else:
            mask[:, 0] = 1
        return self.input("attention_mask", mask, named)

    def added(self, scores, mask, axes, other):
        """Transformers' extended mask: (1 - mask) * other."""
        mask = self.op("Cast", self.op("Unsqueeze", mask, self.integers(*axes)), to=TensorProto.FLOAT)
        return self.op("Add", scores, self.op("Mul", self.op("Sub", self.number(1), mask), self.number(other)))

    def causal(self, scores, other):
        """PyTorch's triu of a square of ones, chosen by Where."""
        length = self.op("Slice", self.op("Shape", scores), self.integers(2), self.integers(4))
        ones = self.op("ConstantOfShape", length, value=numpy_helper.from_array(np.ones(1, np.float32)))
        later = self.op("Cast", self.op("Trilu", ones, self.constant(np.asarray(1, np.int64)), upper=1), to=TensorProto.BOOL)
        return self.op("Where", later, self.number(other), scores)


def of_three_axes(layer, scores):
    mask = layer.mask((BATCH, LENGTH, LENGTH), ["batch", "sequence", "sequence"])
    return layer.added(scores, mask, [1], -10000)


def by_head(layer, scores):
    return layer.op("Add", scores, layer.floats("bias", (1, HEADS, LENGTH, LENGTH), [1, HEADS, "sequence", "sequence"]))


def of_the_callers_own(layer, scores):
    bias = layer.floats("bias", (BATCH, 1, LENGTH, LENGTH), ["batch", 1, "sequence", "sequence"])
    numbers = layer.feed["bias"]
    numbers[layer.random.random(numbers.shape) < 0.3] = LOWEST
    numbers[1, 0, 3] = LOWEST  # a query that may attend to no key
    return layer.op("Add", scores, bias)


def causal_and_padded(layer, scores):
    mask = layer.mask((BATCH, LENGTH), ["batch", "sequence"])
    return layer.causal(layer.added(scores, mask, [1, 2], -10000), -1e9)


CASES = {
    "of three axes": of_three_axes,
    "causal": lambda layer, scores: layer.causal(scores, float("-inf")),
    "of the caller's own numbers": of_the_callers_own,
    "by head": by_head,
    "causal, and padded": causal_and_padded,
}


def difference(layer, actual, expected):
    """Where the padding mask, if there is one, is 1: rows of padding are nobody's."""
    mask = layer.feed.get("attention_mask")
    if mask is not None and mask.ndim == 2:
        actual, expected = actual[mask != 0], expected[mask != 0]
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def run(program, mask, work):
    layer = Layer(mask)
    path = work / "model.onnx"
    onnx.save(layer.model, path)
    expected = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, layer.feed)[0]
    arguments = ["--output-dir", work / "out"]
    for name, array in layer.feed.items():
        np.save(work / f"{name}.npy", array)
        arguments += ["--input", f"{name}={work / name}.npy"]
    engine = work / "model.bertie"
    done = subprocess.run([program, "build", path, "-o", engine], capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip()
    for source, device in ((path, "cpu"), (path, "reference"), (engine, "cpu")):
        done = subprocess.run([program, "run", source, *arguments, "--device", device], capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip()
        actual = np.load(work / "out" / "y.npy").astype(np.float64)
        error = difference(layer, actual, expected)
        if not error <= BOUND:
            return f"{source.name} on {device}: relative error {error:.2g}"
    described = subprocess.run([program, "inspect", path, "--json"], capture_output=True, text=True, check=True)
    ops = [step["op"] for step in json.loads(described.stdout)["steps"]]
    if ops.count("attention") != 1 or "softmax" in ops:
        return f"runs {ops}"
    again = work / "again.onnx"
    done = subprocess.run([program, "export", path, "-o", again], capture_output=True, text=True)
    if done.returncode:
        return "" if "trilu" in done.stderr else done.stderr.strip()  # an op that is not exported
    written = ort.InferenceSession(str(again), providers=["CPUExecutionProvider"]).run(None, layer.feed)[0]
    error = difference(layer, written, expected)
    return "" if error <= BOUND else f"exported: relative error {error:.2g}"


def main():
    failed = []
    for name, mask in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            problem = run(sys.argv[1], mask, pathlib.Path(folder))
        if problem:
            failed.append(f"FAILED {name}: {problem}")
    print("\n".join(failed))
    print(f"{len(CASES)} masks by query and key, {len(CASES) - len(failed)} agree with ONNX Runtime")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
