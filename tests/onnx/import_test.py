"""Graphs built by hand, one for each spelling of an op that the node tests do not have, against ONNX Runtime with its optimiser off.

usage: import_test.py ONNX_RUNNER
       import_test.py --write-seeds FOLDER   (tests/fuzz/corpus/onnx_fuzz: the smallest graph of each kind)
"""

import itertools
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cases import Case, run_cases

RANDOM = np.random.default_rng(4)
B, S, E, H = 3, 7, 24, 3
MS = "com.microsoft"


def floats(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def extents(name, array, symbolic):
    """batch and sequence as such, the width a number; `symbolic`: each extent a name of its own, the width too."""
    own = [f"{name}_{i}" for i in range(array.ndim)]
    if symbolic:
        return own
    for axis, (size, extent) in enumerate([(B, "batch"), (S, "sequence")]):
        if axis < array.ndim and array.shape[axis] == size:
            own[axis] = extent
    return own[:-1] + [array.shape[-1]] if array.ndim > 1 and own[-1] not in ("batch", "sequence") else own


def model(nodes, inputs, outputs, initializers=None, opset=17, functions=(), domains=(), symbolic=False):
    """inputs: {name: array}; outputs: {name: elem_type}."""
    graph = helper.make_graph(
        nodes, "test",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), extents(n, a, symbolic)) for n, a in inputs.items()],
        [helper.make_tensor_value_info(n, t, None) for n, t in outputs.items()],
        [numpy_helper.from_array(a, n) for n, a in (initializers or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)] + [helper.make_opsetid(d, 1) for d in domains]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))


def case(name, nodes, inputs, outputs, initializers=None, rtol=1e-4, atol=1e-5, **options):
    if not isinstance(outputs, dict):
        outputs = {n: TensorProto.FLOAT for n in outputs}
    proto = model(nodes, inputs, outputs, initializers, **options)
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    try:
        expected = ort.InferenceSession(proto.SerializeToString(), settings, providers=["CPUExecutionProvider"]).run(None, inputs)
    except Exception as error:  # the oracle itself must take the graph
        raise SystemExit(f"{name}: ONNX Runtime: {error}") from error
    return Case(name, proto, list(inputs.values()), expected, rtol, atol)


def node(op, inputs, outputs, domain="", **attributes):
    return helper.make_node(op, inputs, outputs, domain=domain, name=f"{op}_{outputs[0]}", **attributes)


def microsoft():
    x, gamma, beta, bias = floats(B, S, E), floats(E), floats(E), floats(E)
    for name, extra in [("Gelu", []), ("BiasGelu", ["b"]), ("FastGelu", []), ("FastGelu", ["b"]), ("QuickGelu", [])]:
        yield case(f"{name} {extra}", [node(name, ["x", *extra], ["y"], MS)], {"x": x}, ["y"], {"b": bias} if extra else {})
    yield case("QuickGelu alpha", [node("QuickGelu", ["x"], ["y"], MS, alpha=1.25)], {"x": x}, ["y"])
    for inputs in (["x", "s", "g"], ["x", "s", "g", "b"], ["x", "s", "g", "b", "c"], ["x", "s", "g", "", "c"]):
        weights = {"g": gamma, "b": beta, "c": bias}
        yield case(f"SkipLayerNormalization {inputs}",
                   [node("SkipLayerNormalization", inputs, ["y", "", "", "sum"], MS, epsilon=1e-3)],
                   {"x": x, "s": floats(B, S, E)}, ["y", "sum"], {n: weights[n] for n in inputs[2:] if n})
    yield case("SkipSimplifiedLayerNormalization", [node("SkipSimplifiedLayerNormalization", ["x", "s", "g"], ["y", "", "", "sum"], MS)],
               {"x": x, "s": floats(B, S, E)}, ["y", "sum"], {"g": gamma})
    yield case("SimplifiedLayerNormalization", [node("SimplifiedLayerNormalization", ["x", "g"], ["y"], axis=-1, epsilon=1e-5)],
               {"x": x}, ["y"], {"g": gamma})
    yield case("LayerNormalization before 17", [node("LayerNormalization", ["x", "g", "b"], ["y"], epsilon=1e-4)], {"x": x}, ["y"],
               {"g": gamma, "b": beta}, opset=14)
    for a, b in itertools.product((0, 1), (0, 1)):
        yield case(f"FusedMatMul {a}{b}", [node("FusedMatMul", ["x", "w"], ["y"], MS, transA=a, transB=b, alpha=0.5)],
                   {"x": floats(B, 8, 5) if a else floats(B, 5, 8)}, ["y"], {"w": floats(4, 8) if b else floats(8, 4)})
    for activation in ("Relu", "Tanh", "Sigmoid"):
        yield case(f"FusedGemm {activation}", [node("FusedGemm", ["x", "w", "c"], ["y"], MS, transB=1, activation=activation)],
                   {"x": floats(B, E)}, ["y"], {"w": floats(5, E), "c": floats(5)})
    for symbolic in (False, True):
        yield case(f"widths as names {symbolic}", [node("SkipLayerNormalization", ["x", "s", "g", "b"], ["n"], MS), node("BiasGelu", ["n", "b"], ["y"], MS)],
                   {"x": x, "s": floats(B, S, E)}, ["y"], {"g": gamma, "b": beta}, symbolic=symbolic)
        yield case(f"Gemm of names {symbolic}", [node("Gemm", ["x", "w", "c"], ["y"], transB=1)], {"x": floats(B, E)}, ["y"],
                   {"w": floats(5, E), "c": floats(5)}, symbolic=symbolic)
        yield case(f"Attention of names {symbolic}", [node("Attention", ["x", "w", "c", "m"], ["y"], MS, num_heads=H)],
                   {"x": x, "m": np.tri(B, S, 2, dtype=np.int32)}, ["y"], {"w": floats(E, 3 * E), "c": floats(3 * E)}, symbolic=symbolic)
    yield from embeddings()
    yield from attentions()
    yield from eight_bits()


def embeddings():
    ids, types = RANDOM.integers(0, 20, (B, S)).astype(np.int32), RANDOM.integers(0, 2, (B, S)).astype(np.int32)
    mask = (RANDOM.random((B, S)) < 0.6).astype(np.int32)
    places = RANDOM.integers(0, 10, (B, S)).astype(np.int32)
    weights = {"w": floats(20, E), "p": floats(10, E), "t": floats(2, E), "g": floats(E), "b": floats(E)}
    for with_types, with_places in itertools.product((True, False), (True, False)):
        inputs = {"ids": ids, **({"types": types} if with_types else {}), "mask": mask, **({"places": places} if with_places else {})}
        names = ["ids", "types" if with_types else "", "w", "p", "t" if with_types else "", "g", "b", "mask"] + (["places"] if with_places else [])
        used = {n: weights[n] for n in names if n in weights}
        yield case(f"EmbedLayerNormalization {with_types} {with_places}",
                   [node("EmbedLayerNormalization", names, ["y", "ones", "sum"], MS, epsilon=1e-12)], inputs,
                   {"y": TensorProto.FLOAT, "ones": TensorProto.INT32, "sum": TensorProto.FLOAT}, used)


def attentions():
    x = floats(B, S, E)
    weights = {"w": floats(E, 3 * E) / 4, "c": floats(3 * E)}
    mask = np.ones((B, S), np.int32)
    mask[1, 4:], mask[2, 0], mask[2, 3] = 0, 0, 0
    for scale in (0.0, 0.3):
        options = {"scale": scale} if scale else {}
        yield case(f"Attention mask {scale}", [node("Attention", ["x", "w", "c", "m"], ["y"], MS, num_heads=H, **options)],
                   {"x": x, "m": mask}, ["y"], weights)
    yield case("Attention no mask", [node("Attention", ["x", "w", "c"], ["y"], MS, num_heads=H)], {"x": x}, ["y"], weights)
    yield case("Attention lengths", [node("Attention", ["x", "w", "c", "m"], ["y"], MS, num_heads=H)],
               {"x": x, "m": np.array([7, 4, 1], np.int32)}, ["y"], weights)
    yield case("Attention bias and mask", [node("Attention", ["x", "w", "c", "m", "", "a"], ["y"], MS, num_heads=H)],
               {"x": x, "m": mask, "a": floats(B, H, S, S)}, ["y"], weights)
    q, k, v = floats(B, S, E), floats(B, S, E), floats(B, S, E)
    yield case("MultiHeadAttention", [node("MultiHeadAttention", ["q", "k", "v"], ["y"], MS, num_heads=H)], {"q": q, "k": k, "v": v}, ["y"])
    yield case("MultiHeadAttention bias, mask", [node("MultiHeadAttention", ["q", "k", "v", "c", "m"], ["y"], MS, num_heads=H)],
               {"q": q, "k": k, "v": v, "m": mask}, ["y"], {"c": floats(3 * E)})
    yield case("MultiHeadAttention scores", [node("MultiHeadAttention", ["q", "k", "v", "", "m", "a"], ["y"], MS, num_heads=H)],
               {"q": q, "k": k, "v": v, "m": mask, "a": floats(1, H, S, S)}, ["y"])
    yield case("MultiHeadAttention other keys", [node("MultiHeadAttention", ["q", "k", "v"], ["y"], MS, num_heads=H)],
               {"q": q, "k": floats(B, S + 2, E), "v": floats(B, S + 2, E)}, ["y"])


def eight_bits():
    a = RANDOM.integers(0, 256, (B, S, E)).astype(np.uint8)
    # Seven bits: without VNNI ONNX Runtime adds two products of u8 and s8 in 16 bits, and with eight they saturate.
    b = RANDOM.integers(-64, 64, (E, 5)).astype(np.int8)
    scales = {"b": b, "as": np.array(0.02, np.float32), "bs": floats(5) ** 2, "az": np.array(120, np.uint8), "bz": np.array(3, np.int8), "c": floats(5)}
    for names in (["a", "b", "as", "bs"], ["a", "b", "as", "bs", "az", "", "c"], ["a", "b", "as", "bs", "az", "bz"]):
        used = dict(scales, bs=np.array(0.01, np.float32)) if "bz" in names else scales
        yield case(f"MatMulIntegerToFloat {names}", [node("MatMulIntegerToFloat", names, ["y"], MS)], {"a": a}, ["y"],
                   {n: used[n] for n in names[1:] if n}, rtol=1e-5, atol=1e-4)
    # One row: the range of the whole tensor is the row's own.
    for names in (["x", "b", "bs"], ["x", "b", "bs", "", "c"]):
        yield case(f"DynamicQuantizeMatMul {names}", [node("DynamicQuantizeMatMul", names, ["y"], MS)], {"x": floats(1, 1, E)}, ["y"],
                   {n: scales[n] for n in names[1:] if n}, atol=1e-4)
    chain = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("MatMulInteger", ["q", "b", "z", "bz"], ["i"]),
        node("Cast", ["i"], ["f"], to=TensorProto.FLOAT), node("Mul", ["s", "bs"], ["m"]), node("Mul", ["f", "m"], ["y"]),
    ]
    yield case("DynamicQuantizeLinear chain", chain, {"x": floats(1, E)}, ["y"], {"b": b, "bz": np.array(0, np.int8), "bs": scales["bs"]}, atol=1e-4)
    x = RANDOM.integers(0, 256, (B, S, E)).astype(np.uint8)
    weights = {"w": RANDOM.integers(-64, 64, (E, 3 * E)).astype(np.int8), "c": floats(3 * E), "xs": np.array(0.02, np.float32),
               "ws": np.array(0.004, np.float32), "xz": np.array(128, np.uint8), "wz": np.array(0, np.int8)}
    yield case("QAttention", [node("QAttention", ["x", "w", "c", "xs", "ws", "m", "xz", "wz"], ["y"], MS, num_heads=H)],
               {"x": x, "m": np.array([7, 4, 1], np.int32)}, ["y"], weights)


def spellings():
    """Forms of an op that differ between opset versions, or that exporters write around it."""
    x = floats(B, 4, 1, 5)
    constant = lambda name, array: node("Constant", [], [name], value=numpy_helper.from_array(array))
    axes = np.array([2], np.int64)
    for opset in (11, 12):
        yield case(f"Squeeze {opset}", [node("Squeeze", ["x"], ["y"], axes=[2])], {"x": x}, ["y"], opset=opset)
        yield case(f"Unsqueeze {opset}", [node("Unsqueeze", ["x"], ["y"], axes=[0, -1])], {"x": x}, ["y"], opset=opset)
        yield case(f"ReduceSum {opset}", [node("ReduceSum", ["x"], ["y"], axes=[1, -1], keepdims=0)], {"x": x}, ["y"], opset=opset)
        yield case(f"Split {opset}", [node("Split", ["x"], ["y", "z"], axis=1, split=[1, 3])], {"x": x}, ["y", "z"], opset=opset)
        for axis in (0, 1, 2, 3, -1, -2):
            yield case(f"Softmax {opset} axis {axis}", [node("Softmax", ["x"], ["y"], axis=axis)], {"x": x}, ["y"], opset=opset)
        yield case(f"Softmax {opset} default", [node("Softmax", ["x"], ["y"])], {"x": x}, ["y"], opset=opset)
        yield case(f"LogSoftmax {opset}", [node("LogSoftmax", ["x"], ["y"], axis=2)], {"x": x}, ["y"], opset=opset)
        yield case(f"Dropout {opset}", [node("Dropout", ["x"], ["y"], **({"ratio": 0.1} if opset < 12 else {}))], {"x": x}, ["y"], opset=opset)
        yield case(f"Clip {opset}", [node("Clip", ["x", "", "h"], ["y"])], {"x": x}, ["y"], {"h": np.array(0.5, np.float32)}, opset=opset)
    for opset in (13, 15, 17, 18, 20, 22):
        yield case(f"Squeeze {opset}", [constant("a", axes), node("Squeeze", ["x", "a"], ["y"])], {"x": x}, ["y"], opset=opset)
        yield case(f"Unsqueeze {opset}", [node("Unsqueeze", ["x", "a"], ["y"])], {"x": x}, ["y"], {"a": axes}, opset=opset)
        yield case(f"ReduceSum {opset}", [node("ReduceSum", ["x", "a"], ["y"])], {"x": x}, ["y"], {"a": axes}, opset=opset)
        mean = {"axes": [1]} if opset < 18 else {}
        yield case(f"ReduceMean {opset}", [node("ReduceMean", ["x"] + ([] if mean else ["a"]), ["y"], **mean)], {"x": x}, ["y"],
                   {} if mean else {"a": np.array([1], np.int64)}, opset=opset)
        yield case(f"Softmax {opset}", [node("Softmax", ["x"], ["y"], axis=1)], {"x": x}, ["y"], opset=opset)
        parts = {"num_outputs": 2} if opset >= 18 else {}
        yield case(f"Split {opset}", [node("Split", ["x"], ["y", "z"], axis=1, **parts)], {"x": x}, ["y", "z"], opset=opset)
    for a, b in itertools.product((0, 1), (0, 1)):
        yield case(f"Gemm {a}{b}", [node("Gemm", ["x", "w", "c"], ["y"], transA=a, transB=b, alpha=0.5, beta=2.0)],
                   {"x": floats(5, 8) if not a else floats(8, 5)}, ["y"], {"w": floats(4, 8) if b else floats(8, 4), "c": floats(4)})
    for axis in range(5):
        yield case(f"Flatten {axis}", [node("Flatten", ["x"], ["y"], axis=axis)], {"x": x}, ["y"])
    computed = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"], axis=0), node("Unsqueeze", ["n", "zeros"], ["v"]),
                node("Concat", ["v", "rest"], ["t"], axis=0), node("Reshape", ["x", "t"], ["y"])]
    yield case("Reshape to a computed shape", computed, {"x": x}, ["y"],
               {"zero": np.array(0, np.int64), "zeros": np.array([0], np.int64), "rest": np.array([-1, 5], np.int64)})
    yield from functions()
    yield from branches()


def functions():
    x = floats(B, E)
    inner = helper.make_function("local", "Scaled", ["a", "b"], ["y"], [node("Mul", ["a", "b"], ["t"]), node("Softmax", ["t"], ["y"])],
                                 [helper.make_opsetid("", 17)])
    inner.node[1].attribute.append(helper.make_attribute_ref("axis", onnx.AttributeProto.INT, "axis"))
    inner.attribute_proto.append(helper.make_attribute("axis", -1))
    outer = helper.make_function("local", "Twice", ["a"], ["y", "u"],
                                 [node("Scaled", ["a", "a"], ["t"], "local", axis=0), node("Scaled", ["t", "a"], ["y"], "local"), node("Neg", ["a"], ["u"])],
                                 [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])
    yield case("functions in functions", [node("Twice", ["x"], ["t", ""], "local"), node("Twice", ["t"], ["y", "u"], "local")], {"x": x},
               ["y", "u"], functions=[inner, outer], domains=["local"])


def branches():
    def branch(name, op):
        return helper.make_graph([node(op, ["x"], [f"{name}_t"]), node("Neg", [f"{name}_t"], [f"{name}_y"])], name, [],
                                 [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)])

    both = {"then_branch": branch("a", "Exp"), "else_branch": branch("b", "Abs")}
    x = floats(B, E)
    for value in (True, False):
        yield case(f"If of a constant {value}", [node("If", ["c"], ["y"], **both)], {"x": x}, ["y"], {"c": np.array(value)})
    # What TorchScript writes for squeeze(-1): the extent is known from the weight.
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Shape", ["m"], ["s"]), node("Gather", ["s", "last"], ["n"], axis=0),
             node("Equal", ["n", "one"], ["c"]), node("If", ["c"], ["y"], **both)]
    yield case("If of a known extent", nodes, {"x": x}, ["y"],
               {"w": floats(E, 1), "last": np.array(-1, np.int64), "one": np.array(1, np.int64)})


def write_seeds(cases, folder):
    folder.mkdir(parents=True, exist_ok=True)
    smallest = {}
    for each in cases:
        kind = each.name.split()[0].lower()
        data = each.model.SerializeToString()
        if len(data) < 3000 and len(data) < len(smallest.get(kind, data + b"x")):
            smallest[kind] = data
    for kind, data in smallest.items():
        (folder / kind).write_bytes(data)
    return 0


def main():
    cases = [*microsoft(), *spellings()]
    if sys.argv[1] == "--write-seeds":
        return write_seeds(cases, pathlib.Path(sys.argv[2]))
    run_cases(sys.argv[1], cases)
    failed = [case for case in cases if case.status != "passed"]
    print(f"{len(cases)} graphs, {len(cases) - len(failed)} agree with ONNX Runtime")
    for case in failed:
        print("FAILED", case.name, case.status, case.message)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
