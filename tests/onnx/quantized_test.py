"""Quantised files become the plan of eight-bit layers: ONNX Runtime's static and dynamic quantisation, ModelOpt's and NNCF's spellings.

The float files of tests/data/onnx are quantised here, by the tools themselves. For each the program's plan must be that of the float file in
int8 (fused attention, no padded rows, nothing else quantised), and its answers those of ONNX Runtime, its optimiser off, on the same file
without the pairs that bertie drops: those around what is no product by a constant. Where each row has a range of its own, both are
compared with the float file. `--precision fp32` runs the weights' floats.

usage: quantized_test.py BERTIE [NAME...]
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from safetensors.numpy import load_file

DATA = pathlib.Path("tests/data/onnx")
VIEWS = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Expand", "Identity"}
MATMULS = ["MatMul", "Gemm", "Gather"]
# Of the oracle's answers, which differ by 2e-7 but where a value falls to the next integer, as a sum rounds otherwise.
STATIC_BOUND = 5e-3
UNSIGNED_WEIGHTS_BOUND = 0.06  # rounded a second time: 255 levels about a zero point do not fit about 0
FLOAT_BOUND = 1e-5
DYNAMIC_BOUND = 0.08  # of the float file's: eight bits of a random model 24 wide


class Reader(CalibrationDataReader):
    def __init__(self, feed):
        self.batches = iter([feed] * 2)

    def get_next(self):
        return next(self.batches, None)


def static(activation=QuantType.QUInt8, weight=QuantType.QInt8, per_channel=False, ops=MATMULS, reduce_range=False, **extra):
    def make(source, path, feed):
        quantize_static(str(source), str(path), Reader(feed), quant_format=QuantFormat.QDQ, per_channel=per_channel, op_types_to_quantize=ops,
                        activation_type=activation, weight_type=weight, reduce_range=reduce_range, extra_options=extra)

    return make


def dynamic(weight=QuantType.QInt8, per_channel=False, fused=False, ops=None):
    def make(source, path, feed):
        quantize_dynamic(str(source), str(path), per_channel=per_channel, weight_type=weight,
                         op_types_to_quantize=ops, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
        if fused:
            session(path, path, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)

    return make


def nncf(source, path, feed):
    import nncf

    model = onnx.load(source)
    onnx.save(nncf.quantize(model, nncf.Dataset([feed] * 2), model_type=nncf.ModelType.TRANSFORMER), path)


# ModelOpt quantises with ONNX Runtime's code and these options: floats of the weights stay, and each reader has a pair of its own.
MODELOPT = dict(activation=QuantType.QInt8, per_channel=True, ActivationSymmetric=True, AddQDQPairToWeight=True, DedicatedQDQPair=True,
                QuantizeBias=False)
VARIANTS = {
    "static u8": ("torchscript_opset17_sdpa/bert_masked", static()),
    "static u8, a head that pools": ("torchscript_opset17_sdpa/bert_sequence", static()),
    "static i8, by channel": ("torchscript_opset17_eager/bert_masked", static(QuantType.QInt8, per_channel=True)),
    "static u8, of 7 bits": ("torchscript_opset14_sdpa/bert_masked", static(reduce_range=True)),
    "static u8, u8 weights": ("torchscript_opset17_sdpa/bert_masked", static(weight=QuantType.QUInt8)),
    "static u8, every op": ("torchscript_opset17_sdpa/bert_model", static(ops=None)),
    "static u8, opset 11": ("torchscript_opset11_eager/bert_masked", static()),
    "static u8, opset 18": ("dynamo_opset18_eager/bert_masked", static()),
    "static u8, opset 23": ("dynamo_opset23_sdpa/bert_masked", static()),
    "static u8, tf2onnx": ("tf2onnx_opset13/bert_masked", static()),
    "static u8, roberta": ("torchscript_opset17_sdpa/roberta_masked", static()),
    "weights alone": ("runtime_fused/bert_model", static(ops=["MatMul", "Attention"])),  # the quantiser knows no types of what lies between
    "modelopt": ("torchscript_opset17_sdpa/bert_masked", static(**MODELOPT)),
    "nncf": ("torchscript_opset17_sdpa/bert_masked", nncf),
    "dynamic": ("torchscript_opset17_sdpa/bert_masked", dynamic()),
    "dynamic, by channel": ("torchscript_opset17_sdpa/bert_sequence", dynamic(per_channel=True)),
    "dynamic, u8 weights": ("torchscript_opset11_eager/bert_model", dynamic(QuantType.QUInt8)),
    "dynamic, fused before": ("runtime_fused/bert_model", dynamic(ops=["MatMul", "Gemm", "Attention"])),
    "dynamic, fused after": ("torchscript_opset17_sdpa/bert_masked", dynamic(fused=True)),
}


def session(path, saved=None, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    if saved:
        options.optimized_model_filepath = str(saved)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runtime(path, feed):
    own = session(path)
    names = [i.name for i in own.get_inputs()]
    return dict(zip([o.name for o in own.get_outputs()], own.run(None, {name: feed[name] for name in names})))


def without_needless_pairs(path, result, all_of_them=False):
    """The file with pairs in front of products by constants alone, or with none. The highest level of a pair is held at the next one, as bertie
    holds it, but where levels lie about 0 as those of bertie do."""
    model = onnx.load(path)
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    stored = {tensor.name for tensor in graph.initializer} | {n.output[0] for n in graph.node if n.op_type == "Constant"}
    readers = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, place))

    def constant(name):
        return name in stored or (name in makers and all(constant(i) for i in makers[name].input if i) and len(makers[name].input) > 0)

    def is_product(node, place):
        if node.op_type in ("MatMul", "Gemm", "Attention"):
            return place == 0 and constant(node.input[1])
        return node.op_type in VIEWS and place == 0 and any(is_product(*reader) for reader in readers.get(node.output[0], []))

    for node in graph.node:
        if node.op_type != "DequantizeLinear" or constant(node.input[0]):
            continue
        quantize = makers[node.input[0]]
        if quantize.op_type != "QuantizeLinear":
            continue
        x = quantize.input[0]
        while x in makers and makers[x].op_type == "DequantizeLinear" and not constant(x):
            x = makers[makers[x].input[0]].input[0]
        for reader, place in readers.get(node.output[0], []):
            if all_of_them or not is_product(reader, place):
                reader.input[place] = x
        for output in graph.output:
            if output.name == node.output[0]:
                graph.node.append(helper.make_node("Identity", [x], [output.name]))
                node.output[0] += ".unread"
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    tensors |= {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in graph.node if n.op_type == "Constant" and n.attribute[0].name == "value"}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type == "QuantizeLinear" and not constant(node.input[0]):
            scale, zero = tensors[node.input[1]], tensors[node.input[2]]
            if zero.dtype == np.uint8 or zero != 0:
                highest = scale * np.float32(np.iinfo(zero.dtype).max - 1 - int(zero))
                graph.initializer.append(numpy_helper.from_array(np.asarray(highest, np.float32), f"{node.output[0]}.highest"))
                graph.node.append(helper.make_node("Min", [node.input[0], f"{node.output[0]}.highest"], [f"{node.output[0]}.held"]))
                node.input[0] = f"{node.output[0]}.held"
        graph.node.append(node)
    onnx.save(model, result)
    return result


def bertie(program, path, feed, work, *flags):
    arguments = [program, "run", str(path), *flags, "--output-dir", str(work / "out")]
    for name in [i.name for i in onnx.load(path).graph.input]:
        np.save(work / f"{name}.npy", feed[name])
        arguments += ["--input", f"{name}={work / name}.npy"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {o.name: np.load(work / "out" / f"{o.name}.npy") for o in onnx.load(path).graph.output}


def plan(program, path, *flags):
    done = subprocess.run([program, "inspect", str(path), "--json", *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    return [step["op"] for step in described["steps"]], described["execution"]["planned"]


def error(ours, theirs, mask):
    largest = 0.0
    for name, expected in theirs.items():
        actual = ours[name]
        assert actual.shape == expected.shape, f"{name}: {actual.shape}, not {expected.shape}"
        if expected.shape[:2] == mask.shape:
            actual, expected = actual[mask], expected[mask]
        largest = max(largest, float(np.linalg.norm(actual - expected) / np.linalg.norm(expected)))
    return largest


def check(program, name, source, make, feed, work):
    path = work / "model.onnx"
    make(source, path, feed)
    mask = feed["attention_mask"] != 0
    steps, planned = plan(program, path)
    wanted, _ = plan(program, source, "--precision", "fp32" if name == "weights alone" else "int8")
    problems = []
    if steps != wanted:
        problems.append(f"its plan is {steps}, that of the float file {wanted}")
    if not planned:
        problems.append("it runs step by step")
    ours, plain = bertie(program, path, feed, work), bertie(program, path, feed, work, "--precision", "fp32")
    bare = runtime(source, feed)
    if "Dynamic" in "".join(node.op_type for node in onnx.load(path).graph.node):
        apart = error(ours, bare, mask)
        own = error(runtime(path, feed), bare, mask)
        line = f"{apart:.2g} of the float file's answers apart (ONNX Runtime {own:.2g})"
        if not apart <= DYNAMIC_BOUND:
            problems.append(line)
        if steps.count("int8_linear") < 8:
            problems.append(f"{steps.count('int8_linear')} layers in eight bits")
        return line, problems
    kept = runtime(without_needless_pairs(path, work / "kept.onnx"), feed)
    floats = runtime(without_needless_pairs(path, work / "floats.onnx", True), feed)
    apart, of_floats = error(ours, kept, mask), error(plain, floats, mask)
    line = (f"{apart:.2g} of ONNX Runtime's answers apart, fp32 {of_floats:.2g}; eight bits from the float file {error(ours, bare, mask):.2g} "
            f"(ONNX Runtime, every pair: {error(runtime(path, feed), bare, mask):.2g})")
    if not apart <= (UNSIGNED_WEIGHTS_BOUND if "u8 weights" in name else STATIC_BOUND) or not of_floats <= FLOAT_BOUND:
        problems.append(line)
    if any(np.any(value[~mask]) for value in ours.values() if value.shape[:2] == mask.shape):
        problems.append("padded rows are not zero")
    return line, problems


def main():
    program, failed = sys.argv[1], 0
    for name, (source, make) in VARIANTS.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        tensors = load_file(DATA / f"{source}.golden.safetensors")
        feed = {key.removeprefix("input."): value for key, value in tensors.items() if key.startswith("input.")}
        with tempfile.TemporaryDirectory() as work:
            line, problems = check(program, name, DATA / f"{source}.onnx", make, feed, pathlib.Path(work))
        print(f"{name}: {line}", flush=True)
        for problem in problems:
            print("FAILED", name, problem)
        failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
