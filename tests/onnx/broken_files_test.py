"""Broken and hostile ONNX files: each is one clear error, none a crash.

usage: broken_files_test.py ONNX_RUNNER
"""

import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GOOD = pathlib.Path("tests/data/onnx/torchscript_opset17_eager/bert_model.onnx")


class Runner:
    """One process; each file an answer, a line."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="backslashreplace")

    def answer(self, folder):
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the runner ended with status {self.process.wait()} on {folder}")
        return line.rstrip("\n")


class Checker:
    def __init__(self, runner, work):
        self.runner, self.work, self.failures, self.count = runner, work, [], 0

    def expect(self, name, model, pattern, prepare=None):
        """The error matches, names the file and takes one line."""
        self.count += 1
        folder = self.work / str(self.count)
        folder.mkdir()
        path = folder / "model.onnx"
        if model is not None:
            path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        if prepare:
            prepare(folder)
        answer = self.runner.answer(folder)
        if not re.search(pattern, answer) or str(path) not in answer:
            self.failures.append(f"{name}: {answer}")

    def survive(self, model):
        self.count += 1
        folder = self.work / str(self.count)
        folder.mkdir()
        (folder / "model.onnx").write_bytes(model)
        self.runner.answer(folder)


def graph(nodes, initializers=(), inputs=("x",), outputs=("y",), shape=(2, 3), output_shape=None):
    return helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, output_shape) for n in outputs], list(initializers))


def model(nodes, *args, opset=17, **kwargs):
    return helper.make_model(graph(nodes, *args, **kwargs), opset_imports=[helper.make_opsetid("", opset)])


def external(location, dims=(2, 3), **entries):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return model([helper.make_node("Add", ["x", "w"], ["y"], name="sum")], [tensor])


def graphs(check):
    node = helper.make_node
    check.expect("empty file", b"", "invalid_file: .*holds no graph")
    check.expect("text", b"hello, this is no protobuf", "invalid_file: .*protobuf cannot read")
    check.expect("cycle", model([node("Add", ["x", "b"], ["a"], name="first"), node("Relu", ["a"], ["b"], name="second"), node("Relu", ["b"], ["y"])]),
                 "invalid_file: .*cycle through node '(first|second)'")
    check.expect("itself", model([node("Add", ["x", "y"], ["y"], name="self")]), "invalid_file: .*cycle through node 'self'")
    check.expect("no producer", model([node("Add", ["x", "nothing"], ["y"], name="sum")]), "invalid_file: .*'sum'.*'nothing'")
    check.expect("no output", model([node("Relu", ["x"], ["z"])]), "invalid_file: .*output 'y': nothing makes it")
    check.expect("made twice", model([node("Relu", ["x"], ["y"], name="one"), node("Abs", ["x"], ["y"], name="two")]), "invalid_file: .*'y' is made twice.*'two'")
    check.expect("input made", model([node("Relu", ["x"], ["x"], name="one"), node("Abs", ["x"], ["y"])]), "invalid_file: .*'one'.*'x' already is an input")
    check.expect("input twice", model([node("Relu", ["x"], ["y"])], inputs=("x", "x")), "invalid_file: .*input 'x' is named twice")
    check.expect("output twice", model([node("Relu", ["x"], ["y"])], outputs=("y", "y")), "invalid_file: .*output 'y' is named twice")
    weight = numpy_helper.from_array(np.zeros((4, 5), np.float32), "w")
    check.expect("initializer twice", model([node("Relu", ["x"], ["y"])], [weight, weight]), "invalid_file: .*initializer 'w' is given twice")
    check.expect("shapes", model([node("MatMul", ["x", "w"], ["y"], name="product")], [weight]), "invalid_file: .*'product' \\(MatMul\\).*one K")
    check.expect("broadcast", model([node("Add", ["x", "w"], ["y"], name="sum")], [weight]), "invalid_file: .*'sum' \\(Add\\).*broadcast")
    check.expect("stated shape", model([node("Relu", ["x"], ["y"])], output_shape=(2, 4)), "invalid_file: .*output 'y': the file says FLOAT \\[2, 4\\]")
    check.expect("opset", model([node("Relu", ["x"], ["y"])], opset=9), "unsupported: .*opset 9.*11 to")
    check.expect("newer opset", model([node("Relu", ["x"], ["y"])], opset=99), "unsupported: .*opset 99")
    bare = model([node("Relu", ["x"], ["y"], name="one")])
    del bare.opset_import[:]
    check.expect("no opset", bare, "invalid_file: .*'one'.*opset_import")
    unknown = [node("Frobnicate", ["x"], ["a"], name="f1"), node("Relu", ["a"], ["b"]), node("Frobnicate", ["b"], ["c"], name="f2"),
               node("MatMulNBits", ["c", "x"], ["d"], name="bits", domain="com.microsoft"), node("Loop", ["", "", "d"], ["y"], name="loop")]
    check.expect("unknown ops", model(unknown),
                 "unsupported: .*: 4 nodes of ops that are not supported: Frobnicate \\(2 nodes, the first 'f1'\\); "
                 "com.microsoft.MatMulNBits \\(node 'bits'\\); Loop \\(node 'loop'\\)$")
    check.expect("unknown domain", model([node("Thing", ["x"], ["y"], name="t", domain="no.such")]), "unsupported: .*no.such.Thing \\(node 't'\\)")
    check.expect("attribute", model([node("Softmax", ["x"], ["y"], name="s", surprise=1)]), "unsupported: .*Softmax: attribute 'surprise' \\(node 's'\\)")
    check.expect("attribute type", model([node("Softmax", ["x"], ["y"], name="s", axis=1.5)]), "invalid_file: .*'s' \\(Softmax\\): attribute 'axis' is of type FLOAT")
    check.expect("axis", model([node("Softmax", ["x"], ["y"], name="s", axis=7)]), "invalid_file: .*'s' \\(Softmax\\).*axis 7")
    recursive = model([node("F", ["x"], ["y"], name="call", domain="me")])
    recursive.opset_import.append(helper.make_opsetid("me", 1))
    recursive.functions.append(helper.make_function("me", "F", ["a"], ["b"], [node("F", ["a"], ["b"], name="inner", domain="me")], [helper.make_opsetid("me", 1)]))
    check.expect("recursive function", recursive, "invalid_file: .*deep")
    bomb = model([node("F0", ["x"], ["y"], domain="me")])
    bomb.opset_import.append(helper.make_opsetid("me", 1))
    for i in range(40):
        op = (f"F{i + 1}", "me") if i < 39 else ("Relu", "")
        nodes = [node(op[0], ["a"], ["t"], domain=op[1]), node(op[0], ["t"], ["b"], domain=op[1])]
        bomb.functions.append(helper.make_function("me", f"F{i}", ["a"], ["b"], nodes, [helper.make_opsetid("me", 1), helper.make_opsetid("", 17)]))
    check.expect("function bomb", bomb, "unsupported: .*nodes once functions are inlined")


def quantized(check):
    """A pair around x [2, 3] whose scale or zero point is no such thing."""
    def pair(scale, zero_point, other=None, **attributes):
        scale, zero_point = np.asarray(scale, np.float32), np.asarray(zero_point)
        own = [numpy_helper.from_array(scale, "s"), numpy_helper.from_array(zero_point, "z")]
        own.append(numpy_helper.from_array(zero_point if other is None else np.asarray(other), "w"))
        return model([helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize", **attributes),
                      helper.make_node("DequantizeLinear", ["q", "s", "w"], ["y"], name="dequantize", **attributes)], own)

    for scale in (0.0, -0.5, float("nan"), float("inf")):
        check.expect(f"scale {scale}", pair(scale, np.uint8(0)), "invalid_file: .*'quantize' \\(QuantizeLinear\\).*scale 's' is .*finite and above 0$")
    check.expect("one scale", pair([0.5, 0, 1], np.zeros(3, np.int8), axis=1), "invalid_file: .*'quantize'.*scale 's' is 0: ")
    weight = numpy_helper.from_array(np.ones((3, 2), np.int8), "q")
    for scale in (-0.5, float("nan")):
        stored = [weight, numpy_helper.from_array(np.float32(scale), "s")]
        nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["f"], name="dequantize"), helper.make_node("MatMul", ["x", "f"], ["y"])]
        check.expect(f"weight's scale {scale}", model(nodes, stored), "invalid_file: .*'dequantize'.*scale 's' is .*finite and above 0$")
    check.expect("zero point of floats", pair(0.5, np.float32(0)), "invalid_file: .*'quantize'.*a zero_point of i8 or u8")
    check.expect("zero point of 32 bits", pair(0.5, np.int32(0)), "invalid_file: .*'quantize'.*a zero_point of i8 or u8")
    check.expect("two types", pair(0.5, np.uint8(0), np.int8(0)), "invalid_file: .*'dequantize'.*a zero_point of x's dtype")
    check.expect("axis", pair([0.5, 1, 2], np.zeros(3, np.int8), axis=2), "invalid_file: .*'quantize'.*an axis within rank 2, not 2")
    check.expect("too few scales", pair([0.5, 1], np.zeros(2, np.int8), axis=1), "invalid_file: .*'quantize'.*a scale for each place of the axis")
    check.expect("zero points", pair([0.5, 1, 2], np.zeros(2, np.int8), axis=1), "invalid_file: .*'quantize'.*a zero_point of the scale's shape")
    check.expect("four bits", pair(0.5, np.int8(0), block_size=3), "unsupported: .*QuantizeLinear: attribute 'block_size'")
    integers = [helper.make_node(op, ["x"], ["y" if i else "a"], name=op, domain="com.microsoft") for i, op in enumerate(("QGemm", "QLinearAdd"))]
    integers[1].input[0] = "a"
    check.expect("operators on integers", model(integers), "unsupported: .*: 2 nodes of ops that are not supported: com.microsoft.QGemm .*QLinearAdd")


def tensors(check):
    def with_weight(**fields):
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(2, 3))
        for key, value in fields.items():
            getattr(tensor, key).extend(value) if isinstance(value, list) else setattr(tensor, key, value)
        return model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])

    check.expect("short", with_weight(raw_data=b"1234"), "invalid_file: .*initializer 'w'.*does not fit its 4 bytes")
    check.expect("too few", with_weight(float_data=[1.0]), "invalid_file: .*initializer 'w'.*does not fit its 1 elements")
    check.expect("twice", with_weight(float_data=[1.0] * 6, raw_data=b"\0" * 24), "invalid_file: .*initializer 'w'.*given twice")
    negative = with_weight(raw_data=b"")
    negative.graph.initializer[0].dims[:] = [-1, 3]
    check.expect("negative", negative, "invalid_file: .*initializer 'w': shape \\[-1, 3\\]")
    huge = with_weight(raw_data=b"")
    huge.graph.initializer[0].dims[:] = [2**40, 2**40]
    check.expect("overflow", huge, "invalid_file: .*initializer 'w': shape")
    for name in ("INT4", "UINT4", "FLOAT8E4M3FN", "STRING", "INT16", "COMPLEX64"):
        check.expect(name, with_weight(data_type=TensorProto.DataType.Value(name)), f"unsupported: .*initializer 'w': element type {name} ")
    sparse = model([helper.make_node("Add", ["x", "w"], ["y"])])
    sparse.graph.sparse_initializer.add().values.name = "w"
    check.expect("sparse", sparse, "unsupported: .*sparse initializer 'w'")


def external_data(check):
    def data(folder):
        (folder / "w.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
        (folder / "sub").mkdir()
        (folder / "outside").symlink_to(folder.parent)
        (folder / "link.bin").symlink_to("/etc/passwd")

    refused = "invalid_file: .*'w': external data '{}' is not inside the model's folder"
    for location in ("/etc/passwd", "../1/model.onnx", "sub/../../1/model.onnx", "", "outside/1/model.onnx", "link.bin"):
        check.expect(location, external(location), refused.format(re.escape(location)), data)
    check.expect("missing", external("none.bin"), "not_found: .*'w': external data 'none.bin'", data)
    check.expect("folder", external("sub"), "invalid_file: .*'w': external data 'sub' is not a file", data)
    check.expect("offset", external("w.bin", offset=8), "invalid_file: .*'w': 24 bytes at 8 of 'w.bin', which has 24", data)
    check.expect("length", external("w.bin", length=20), "invalid_file: .*'w'.*20 bytes of external data", data)
    check.expect("number", external("w.bin", offset="-4"), "invalid_file: .*offset '-4' is not a number", data)
    check.expect("far", external("w.bin", offset=2**64 - 8), "invalid_file: .*'w'", data)
    # What is in order is read, also through a link that stays inside and where the model itself is a link (Hugging Face's cache).
    folder = check.work / "good"
    (folder / "blobs").mkdir(parents=True)
    (folder / "snapshot").mkdir()
    (folder / "blobs" / "1").write_bytes(external("w.bin", offset=0, length=24).SerializeToString())
    (folder / "blobs" / "2").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    (folder / "snapshot" / "model.onnx").symlink_to("../blobs/1")
    (folder / "snapshot" / "w.bin").symlink_to("../blobs/2")
    np.save(folder / "snapshot" / "input_0.npy", np.ones((2, 3), np.float32))
    answer = check.runner.answer(folder / "snapshot")
    if answer != "ok" or not np.array_equal(np.load(folder / "snapshot" / "output_0.npy"), np.arange(6).reshape(2, 3) + 1.0):
        check.failures.append(f"external data through links: {answer}")


def large(check):
    def make(folder):
        with open(folder / "model.onnx", "wb") as file:
            file.truncate(3 << 30)  # sparse: takes no room

    check.expect("3 GB", None, "unsupported: .*protobuf's limit of 2 GiB.*external data", make)
    os.unlink(check.work / str(check.count) / "model.onnx")


def mutations(check):
    good = GOOD.read_bytes()
    for part in range(50):
        check.survive(good[: len(good) * part // 50])
    chosen = random.Random(4)
    for _ in range(300):
        bytes_ = bytearray(good)
        for _ in range(chosen.choice((1, 1, 8, 64))):
            bytes_[chosen.randrange(len(bytes_))] ^= 1 << chosen.randrange(8)
        check.survive(bytes(bytes_))
    # The graph itself: the weights are most of the file, and a flipped weight breaks nothing.
    small = onnx.load(GOOD)
    for node in small.graph.initializer:
        node.raw_data = node.raw_data[:0] if len(node.raw_data) > 64 else node.raw_data
    text = small.SerializeToString()
    for _ in range(300):
        bytes_ = bytearray(text)
        bytes_[chosen.randrange(len(bytes_))] ^= 1 << chosen.randrange(8)
        check.survive(bytes(bytes_))


def main():
    with tempfile.TemporaryDirectory() as work:
        check = Checker(Runner(sys.argv[1]), pathlib.Path(work))
        for part in (graphs, quantized, tensors, external_data, large, mutations):
            part(check)
        print(f"{check.count} broken files, {len(check.failures)} not refused as they should be")
        for failure in check.failures:
            print("FAILED", failure)
        return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
