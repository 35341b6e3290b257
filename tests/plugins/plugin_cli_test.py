#!/usr/bin/env python3
"""--plugin as users meet it: an ONNX file with a node of the plugin's domain, libraries that are none, unknown domains.

    plugin_cli_test.py PATH_OF_BERTIE LAYER_NORM_PLUGIN CALIBRATOR_PLUGIN [unittest arguments]

Only Python's own library is needed: the ONNX file is written here, field by field.
"""

import array
import json
import math
import random
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BERTIE = str(Path(sys.argv.pop(1)).resolve())
PLUGIN = str(Path(sys.argv.pop(1)).resolve())
CALIBRATOR = str(Path(sys.argv.pop(1)).resolve())
MASKED = Path(__file__).resolve().parents[1] / "data" / "tasks" / "bert_masked"
WIDTH, ROWS = 24, 50
FLOAT, INT64 = 1, 7  # TensorProto.DataType


# --- protobuf: https://protobuf.dev/programming-guides/encoding, fields of onnx.proto ---

def varint(value):
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name, shape, values):
    return b"".join(field(1, extent) for extent in shape) + field(2, FLOAT) + field(8, name) + field(9, array.array("f", values).tobytes())


def value_info(name, kind, dims):
    shape = b"".join(field(1, field(2, dim) if isinstance(dim, str) else field(1, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def node(op, inputs, outputs, name, domain="", attributes=b""):
    return (b"".join(field(1, each) for each in inputs) + b"".join(field(2, each) for each in outputs) + field(3, name) +
            field(4, op) + attributes + (field(7, domain) if domain else b""))


def integer(name, value):
    return field(5, field(1, name) + field(3, value) + field(20, 2))


def real(name, value):
    return field(5, field(1, name) + field(2, value) + field(20, 1))


class Weights:
    def __init__(self):
        source = random.Random(4)
        self.table = [source.gauss(0, 1) for _ in range(ROWS * WIDTH)]
        self.gamma = [source.gauss(1, 0.2) for _ in range(WIDTH)]
        self.beta = [source.gauss(0, 1) for _ in range(WIDTH)]


def model(weights, stage=2, domain="bertie.examples", attributes=None):
    own = integer("stage", stage) + real("epsilon", 1e-5) if attributes is None else attributes
    graph = b"".join([
        field(1, node("Gather", ["table", "input_ids"], ["x"], "words")),
        field(1, node("LayerNorm", ["x", "gamma", "beta"], ["y"], "norm", domain, own)),
        field(2, "graph"),
        field(5, tensor("table", [ROWS, WIDTH], weights.table)),
        field(5, tensor("gamma", [WIDTH], weights.gamma)),
        field(5, tensor("beta", [WIDTH], weights.beta)),
        field(11, value_info("input_ids", INT64, ["batch", "sequence"])),
        field(11, value_info("attention_mask", INT64, ["batch", "sequence"])),
        field(12, value_info("y", FLOAT, ["batch", "sequence", WIDTH])),
    ])
    opsets = field(8, field(1, "") + field(2, 17)) + field(8, field(1, domain) + field(2, 1))
    return field(1, 8) + opsets + field(7, graph)


def layer_norm(row, weights):
    mean = sum(row) / WIDTH
    variance = sum((x - mean) ** 2 for x in row) / WIDTH
    return [(x - mean) / math.sqrt(variance + 1e-5) * g + b for x, g, b in zip(row, weights.gamma, weights.beta)]


def write_ids(path, ids):
    header = str({"descr": "<i8", "fortran_order": False, "shape": (len(ids), len(ids[0]))})
    header += " " * ((64 - (11 + len(header)) % 64) % 64) + "\n"
    data = array.array("q", [each for row in ids for each in row]).tobytes()
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def read_floats(path):
    data = path.read_bytes()
    size = struct.unpack("<H", data[8:10])[0]
    return array.array("f", data[10 + size:])


class PluginTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.weights = Weights()
        self.weights.table = list(array.array("f", self.weights.table))  # as the file rounds them
        self.file = self.folder / "model.onnx"

    def bertie(self, *arguments):
        done = subprocess.run([BERTIE, *map(str, arguments)], capture_output=True, timeout=120)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_an_onnx_node_of_its_domain_runs_in_the_plugin(self):
        ids = [[3, 7, 49], [0, 11, 2]]
        write_ids(self.folder / "ids.npy", ids)
        for stage in 1, 2, 3:
            self.file.write_bytes(model(self.weights, stage))
            status, _, errors = self.bertie("run", self.file, "--plugin", PLUGIN, "--input", f"input_ids={self.folder}/ids.npy",
                                            "--output-dir", self.folder)
            self.assertEqual((status, errors), (0, ""))
            got = read_floats(self.folder / "y.npy")
            expected = [y for row in ids for token in row
                        for y in layer_norm(self.weights.table[token * WIDTH:(token + 1) * WIDTH], self.weights)]
            self.assertEqual(len(got), len(expected))
            self.assertLess(max(abs(a - b) for a, b in zip(got, expected)), 2e-5)

    def test_inspect_shows_it(self):
        self.file.write_bytes(model(self.weights))
        status, output, errors = self.bertie("inspect", self.file, "--plugin", PLUGIN, "--json")
        self.assertEqual((status, errors), (0, ""))
        report = json.loads(output)
        self.assertEqual(report["plugins"], [{"name": "layer_norm", "version": "1.0", "path": PLUGIN,
                                              "ops": ["bertie.examples::LayerNorm v1"], "calibrators": []}])
        step = report["steps"][-1]
        self.assertEqual((step["op"], step["kernel"]), ("bertie.examples::LayerNorm", "plugin layer_norm v1.0"))
        self.assertIn("row_by_row", step["reason"])
        self.assertEqual(step["output_shape"], f"[tokens, {WIDTH}]")  # row-wise: packed
        status, output, _ = self.bertie("inspect", self.file, "--plugin", PLUGIN, "--plugin", PLUGIN)
        self.assertEqual(status, 0)
        self.assertEqual(output.count("  plugin  layer_norm v1.0"), 1)

    def fails(self, *arguments, says):
        status, output, errors = self.bertie(*arguments)
        self.assertEqual((status, output), (1, ""))
        self.assertEqual(errors.count("\n"), 1, errors)
        for words in says:
            self.assertIn(words, errors)

    def test_without_the_plugin_the_node_is_named(self):
        self.file.write_bytes(model(self.weights))
        self.fails("inspect", self.file, says=["LayerNorm", "norm"])
        self.file.write_bytes(model(self.weights, domain="bertie.example"))
        self.fails("inspect", self.file, "--plugin", PLUGIN, says=["bertie.example", "norm"])

    def test_what_the_plugin_rejects_is_one_line(self):
        self.file.write_bytes(model(self.weights, stage=4))
        self.fails("inspect", self.file, "--plugin", PLUGIN, says=["LayerNorm", "norm", "stage 1, 2 or 3"])
        self.file.write_bytes(model(self.weights, attributes=integer("steps", 1)))
        self.fails("inspect", self.file, "--plugin", PLUGIN, says=["LayerNorm", "norm", "steps"])

    def test_libraries_that_are_none(self):
        self.file.write_bytes(model(self.weights))
        self.fails("inspect", self.file, "--plugin", self.folder / "gone.so", says=["gone.so", "no such file"])
        self.fails("inspect", self.file, "--plugin", self.file, says=["model.onnx", "not a shared library"])
        self.fails("run", self.file, "--task", "embed", "--text", "a", "--plugin", self.file, says=["not a shared library"])

    def test_a_calibrator(self):
        cache, texts = self.folder / "cache.json", self.folder / "texts"
        texts.write_text("the river runs past the old town\nseven people saw it\n")
        own = ["--plugin", CALIBRATOR, "--method", "bertie.examples::RootMeanSquare"]
        status, output, errors = self.bertie("calibrate", MASKED, "--data", texts, "-o", cache, "--json", *own)
        self.assertEqual((status, errors), (0, ""))
        row = json.loads(output)
        self.assertEqual((row["method"], json.loads(cache.read_text())["method"]), (own[3], own[3]))
        for tensor in row["tensors"]:  # by its definition
            width, total = tensor["range"] / 2048, sum(tensor["counts"])
            squares = sum(count * ((bin + 0.5) * width) ** 2 for bin, count in enumerate(tensor["counts"]))
            self.assertAlmostEqual(tensor["threshold"] / min(12 * math.sqrt(squares / total), tensor["range"]), 1, places=5)
        status, _, errors = self.bertie("run", MASKED, "--task", "fill-mask", "--calibration", cache, "--text", "the [MASK] runs")
        self.assertEqual(status, 0, errors)
        status, output, _ = self.bertie("inspect", MASKED, "--plugin", CALIBRATOR)
        self.assertIn(": calibrator bertie.examples::RootMeanSquare", output)
        for given in ([], ["--plugin", PLUGIN]):
            status, output, errors = self.bertie("calibrate", MASKED, "--data", texts, "-o", cache, *given, *own[2:])
            self.assertEqual((status, output, errors.count("\n")), (2, "", 1))
            self.assertIn("there are entropy, minmax, mse, percentile", errors)

    def test_help(self):
        for command in "run", "inspect", "bench", "calibrate":
            _, output, _ = self.bertie(command, "--help")
            self.assertIn("--plugin", output)
        status, _, errors = self.bertie("inspect", "x", "--plugin")
        self.assertEqual((status, errors.count("\n")), (2, 1))


if __name__ == "__main__":
    unittest.main()
