"""Writes elementary_golden.json: small cases of the elementary ops with results by the onnx package's reference evaluator or NumPy.

    python tests/conformance/make_elementary_golden.py > tests/conformance/elementary_golden.json

Sizes 0, 1 and odd ones, negative axes and indices, broadcasting, every dtype an op has here. Where ONNX leaves a result open (a division of
integers by 0) there is no case.
"""

import json
import sys

import ml_dtypes
import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

random = np.random.default_rng(11)
cases = []
OPSET = 21
DTYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64", "int8": "i8", "uint8": "u8", "int32": "i32",
          "int64": "i64", "bool": "bool"}
FLOATS = [np.float32, np.float16, ml_dtypes.bfloat16, np.float64]
INTEGERS = [np.int8, np.uint8, np.int32, np.int64]


def numbers(*shape, dtype=np.float32, scale=1.0):
    """Few digits, so that every float format holds them exactly; integers of both signs where there are two."""
    if np.dtype(dtype).kind == "b":
        return random.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        low = 0 if np.dtype(dtype).kind == "u" else -9
        return random.integers(low, 10, shape).astype(dtype)
    return (np.round(random.standard_normal(shape) * scale * 8) / 8).astype(dtype)


def i64(*values):
    return np.array(values, np.int64)


def scalar(value, dtype=np.int64):
    return np.array(value, dtype)


def plain(value):
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def tensor(array, result=False):
    array = np.asarray(array)
    dtype = DTYPES[array.dtype.name]
    if dtype in ("f16", "bf16", "f64"):
        dtype = "f32" if result else dtype
        array = array.astype(np.float64)
    return {"dtype": dtype, "shape": list(array.shape), "values": [plain(value) for value in array.ravel().tolist()]}


def save(op, inputs, attributes, results):
    cases.append({"op": op, "attributes": attributes, "inputs": [None if x is None else tensor(x) for x in inputs],
                  "results": [tensor(result, True) for result in results]})


def by_onnx(onnx_op, inputs, attributes, outputs, opset):
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    node = helper.make_node(onnx_op, names, [f"y{i}" for i in range(outputs)], **attributes)
    given = {name: x for name, x in zip(names, inputs) if name}
    infos = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(x).dtype), list(np.asarray(x).shape))
             for name, x in given.items()]
    wanted = [helper.make_tensor_value_info(f"y{i}", onnx.TensorProto.UNDEFINED, None) for i in range(outputs)]
    graph = helper.make_graph([node], "case", infos, wanted)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return ReferenceEvaluator(model).run(None, given)


def case(op, inputs, onnx_op, attributes=None, onnx_attributes=None, outputs=1, opset=OPSET):
    """`attributes` are ours; ONNX's are the same where not given."""
    attributes = attributes or {}
    save(op, inputs, attributes, by_onnx(onnx_op, inputs, attributes if onnx_attributes is None else onnx_attributes, outputs, opset))


# --- unary ---
special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0], np.float32)
UNARY = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softplus": "Softplus", "softsign": "Softsign", "mish": "Mish",
         "hard_swish": "HardSwish", "erf": "Erf", "exp": "Exp", "sin": "Sin", "cos": "Cos", "tan": "Tan", "atan": "Atan", "sinh": "Sinh",
         "cosh": "Cosh", "asinh": "Asinh", "neg": "Neg", "abs": "Abs", "sign": "Sign", "floor": "Floor", "ceil": "Ceil",
         "round": "Round", "is_nan": "IsNaN", "is_inf": "IsInf", "identity": "Identity"}
for name, onnx_op in UNARY.items():
    for shape in ((2, 3), (0, 4)):
        case("unary", [numbers(*shape, scale=2)], onnx_op, {"function": name}, {})
    x = numbers(1, scale=2)  # the evaluator fails on some scalars
    save("unary", [x[0]], {"function": name}, [by_onnx(onnx_op, [x], {}, 1, OPSET)[0][0]])
for name, onnx_op in (("floor", "Floor"), ("ceil", "Ceil"), ("round", "Round"), ("sign", "Sign"), ("abs", "Abs"), ("neg", "Neg"),
                      ("is_nan", "IsNaN"), ("is_inf", "IsInf"), ("relu", "Relu"), ("exp", "Exp"), ("tanh", "Tanh")):
    case("unary", [special], onnx_op, {"function": name}, {})
case("unary", [special], "IsInf", {"function": "is_inf", "detect_negative": 0}, {"detect_negative": 0})
case("unary", [special], "IsInf", {"function": "is_inf", "detect_positive": 0}, {"detect_positive": 0})
for name, onnx_op in (("log", "Log"), ("sqrt", "Sqrt"), ("reciprocal", "Reciprocal"), ("acosh", "Acosh")):
    case("unary", [np.abs(numbers(5)) + 1], onnx_op, {"function": name}, {})
for name, onnx_op in (("asin", "Asin"), ("acos", "Acos"), ("atanh", "Atanh")):
    case("unary", [np.array([-0.5, 0, 0.25, 0.875], np.float32)], onnx_op, {"function": name}, {})
for name, onnx_op in (("leaky_relu", "LeakyRelu"), ("elu", "Elu"), ("celu", "Celu"), ("selu", "Selu"),
                      ("thresholded_relu", "ThresholdedRelu"), ("hard_sigmoid", "HardSigmoid")):
    x = numbers(7, scale=3)
    case("unary", [x], onnx_op, {"function": name}, {})
    case("unary", [x], onnx_op, {"function": name, "alpha": 0.75}, {"alpha": 0.75})
case("unary", [numbers(7)], "HardSigmoid", {"function": "hard_sigmoid", "alpha": 0.5, "beta": 0.25}, {"alpha": 0.5, "beta": 0.25})
for dtype in (np.int8, np.int32, np.int64):
    for name, function in (("neg", np.negative), ("abs", np.abs), ("sign", np.sign)):
        x = np.append(numbers(4, dtype=dtype), np.iinfo(dtype).min).astype(dtype)
        save("unary", [x], {"function": name}, [function(x)])
for dtype in INTEGERS:
    x = numbers(5, dtype=dtype)
    save("unary", [x], {"function": "relu"}, [np.maximum(x, 0)])
    save("unary", [x], {"function": "bitwise_not"}, [np.invert(x)])
    save("unary", [x], {"function": "identity"}, [x])
x = numbers(2, 3, dtype=bool)
save("unary", [x], {"function": "not"}, [~x])

# --- elementwise ---
BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "min": "Min", "max": "Max", "equal": "Equal", "greater": "Greater",
          "greater_or_equal": "GreaterOrEqual", "less": "Less", "less_or_equal": "LessOrEqual"}
SHAPES = [((2, 3), (2, 3)), ((2, 1, 3), (4, 1)), ((3,), ()), ((), ()), ((0, 3), (1, 3)), ((5, 1), (1, 1)), ((1,), (2, 2, 1, 3)), ((0,), (1,))]
for name, onnx_op in BINARY.items():
    for dtype in FLOATS + INTEGERS:
        for a_shape, b_shape in SHAPES if dtype == np.float32 else SHAPES[1:2]:
            a, b = np.asarray(numbers(*a_shape, dtype=dtype)), np.asarray(numbers(*b_shape, dtype=dtype))
            if name == "div":
                b = np.where(b == 0, np.ones_like(b), b)
                if np.dtype(dtype).kind in "iu":
                    save("elementwise", [a, b], {"function": name}, [np.trunc(a.astype(np.float64) / b).astype(dtype)])
                    continue
            wide = [x.astype(np.float64) if dtype in FLOATS else x for x in (a, b)]
            result = by_onnx(onnx_op, wide, {}, 1, OPSET)[0]
            save("elementwise", [a, b], {"function": name}, [result])
for name in ("min", "max", "equal", "less", "greater_or_equal"):
    save("elementwise", [special[:, None], special[None, :]], {"function": name},
         by_onnx(BINARY[name], [special[:, None], special[None, :]], {}, 1, OPSET))
for dtype in (np.int8, np.uint8, np.int32, np.int64):  # wrapping
    top = np.array([np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
    for name, function in (("add", np.add), ("sub", np.subtract), ("mul", np.multiply)):
        with np.errstate(over="ignore"):
            save("elementwise", [top[:, None], top], {"function": name}, [function(top[:, None], top)])
for name, function in (("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor), ("equal", np.equal)):
    a, b = numbers(2, 1, 3, dtype=bool), numbers(4, 1, dtype=bool)
    save("elementwise", [a, b], {"function": name}, [function(a, b)])
for dtype in INTEGERS:
    a, b = numbers(4, 1, dtype=dtype), numbers(3, dtype=dtype)
    for name, function in (("bitwise_and", np.bitwise_and), ("bitwise_or", np.bitwise_or), ("bitwise_xor", np.bitwise_xor)):
        save("elementwise", [a, b], {"function": name}, [function(a, b)])
    b = np.where(b == 0, 3, b).astype(dtype)
    save("elementwise", [a, b], {"function": "mod"}, [np.mod(a, b)])
    save("elementwise", [a, b], {"function": "fmod"}, [np.fmod(a, b)])
a, b = numbers(6, 1, scale=3), np.array([0.75, -1.25, 2], np.float32)
save("elementwise", [a, b], {"function": "fmod"}, [np.fmod(a, b)])
save("elementwise", [a, b], {"function": "mod"}, [np.mod(a, b)])
base = np.array([-3, -1, 0, 1, 2, 7], np.int64)[:, None]
save("elementwise", [base, i64(0, 1, 2, 5)], {"function": "pow"}, [base ** i64(0, 1, 2, 5)])
save("elementwise", [base.astype(np.int32), i64(3)], {"function": "pow"}, [base.astype(np.int32) ** 3])
save("elementwise", [np.abs(base), np.array([0.5, 2], np.float32)], {"function": "pow"},
     [np.trunc(np.abs(base).astype(np.float64) ** np.array([0.5, 2])).astype(np.int64)])
x = numbers(4)
save("elementwise", [x, i64(2)], {"function": "pow"}, [x.astype(np.float64) ** 2])

# --- cast, clip, where ---
for source in FLOATS + INTEGERS + [bool]:
    x = numbers(2, 3, dtype=source, scale=4)
    for target in INTEGERS + [bool, np.float32]:
        if np.dtype(source).kind not in "iub" and np.dtype(target).kind == "u":
            x = np.abs(x)
        save("cast", [x], {"to": DTYPES[np.dtype(target).name]}, [x.astype(np.float64).astype(target) if source in FLOATS else x.astype(target)])
save("cast", [np.array([300, -129, 255, 128], np.int64)], {"to": "i8"}, [np.array([300, -129, 255, 128], np.int64).astype(np.int8)])
save("cast", [np.array([np.nan, 0, -0.0, 0.25, np.inf], np.float32)], {"to": "bool"}, [np.array([1, 0, 0, 1, 1], bool)])
save("cast", [np.array([2.9, -2.9, 1e30, -1e30], np.float32)], {"to": "i64"},
     [i64(2, -2, np.iinfo(np.int64).max, np.iinfo(np.int64).min)])
for dtype in [np.float32, np.int8, np.uint8, np.int32, np.int64]:
    x = np.arange(10, dtype=dtype).reshape(2, 5)
    for low, high in ((2, 6), (None, 6), (2, None), (None, None), (7, 3)):
        case("clip", [x, None if low is None else scalar(low, dtype), None if high is None else scalar(high, dtype)], "Clip")
case("clip", [special, scalar(-1, np.float32), scalar(1, np.float32)], "Clip")
for dtype in FLOATS + INTEGERS + [bool]:
    case("where", [numbers(2, 1, 3, dtype=bool), numbers(4, 1, dtype=dtype), np.asarray(numbers(dtype=dtype))], "Where")
case("where", [np.zeros((0, 1), bool), numbers(3), numbers(1, 3)], "Where")

# --- moving elements ---
for dtype in FLOATS + INTEGERS + [bool]:
    x = numbers(2, 3, 4, dtype=dtype)
    case("transpose", [x], "Transpose", {"permutation": [2, 0, 1]}, {"perm": [2, 0, 1]})
    case("expand", [x[:, :1], i64(3, 1, 3, 4)], "Expand")
    case("slice", [x, i64(-1, 0), i64(-10, 3), i64(2, 1), i64(-2, 2)], "Slice")
    case("concat", [x, x[:, :1], x[:, 3:]], "Concat", {"axis": -2})
    case("gather", [x, np.array([[0, -1], [2, 2]])], "Gather", {"axis": 1})
    case("split", [x, i64(1, 0, 3)], "Split", {"axis": 2}, outputs=3)
    case("tile", [x, i64(2, 1, 3)], "Tile")
    case("reshape", [x, i64(0, -1, 2)], "Reshape")
    case("gather_elements", [x, random.integers(-2, 2, (3, 3, 4))], "GatherElements", {"axis": 0})
    save("constant_of_shape", [i64(2, 3), x[0, 0, :1]], {}, [np.full((2, 3), x[0, 0, 0])])
    save("pad", [x, i64(0, 1, -1, 1, 0, 2), x[0, 0, 0]], {}, [np.pad(x[:, :, 1:], ((0, 1), (1, 0), (0, 2)), constant_values=x[0, 0, 0])])
x = numbers(33, 35)
case("transpose", [x], "Transpose")
case("transpose", [x], "Transpose", {"permutation": [1, 0]}, {"perm": [1, 0]})
x = numbers(2, 3, 2, 5)
for permutation in ([0, 2, 1, 3], [0, 2, 3, 1], [3, 2, 1, 0], [1, 3, 0, 2], [0, 1, 2, 3]):
    case("transpose", [x], "Transpose", {"permutation": permutation}, {"perm": permutation})
case("transpose", [np.zeros((0, 3), np.float32)], "Transpose")
case("transpose", [scalar(4.0, np.float32)], "Transpose")
x = numbers(5)
for start, end, step in ((0, 5, 1), (-3, 100, 1), (4, -100, -1), (3, 0, -2), (2, 2, 1), (7, 9, 1), (-1, -6, -3)):
    case("slice", [x, i64(start), i64(end), i64(0), i64(step)], "Slice")
case("slice", [numbers(3, 4), i64(1, -2), i64(3, 2**62)], "Slice")
case("reshape", [np.zeros((0, 3), np.float32), i64(3, 0)], "Reshape", {"allow_zero": 1}, {"allowzero": 1})
case("reshape", [numbers(1, 1), i64()], "Reshape")
case("squeeze", [numbers(1, 3, 1), i64(-1)], "Squeeze")
case("squeeze", [numbers(1, 3, 1)], "Squeeze")
case("unsqueeze", [numbers(3, 2), i64(0, -1)], "Unsqueeze")
case("unsqueeze", [scalar(3.0, np.float32), i64(0)], "Unsqueeze")
case("expand", [scalar(2, np.int64), i64(2, 0)], "Expand")
case("concat", [np.zeros((0, 2), np.float32), numbers(3, 2)], "Concat", {"axis": 0})
case("gather", [numbers(4, 3), scalar(-2)], "Gather", {"axis": -1})
case("gather", [numbers(4, 3), np.zeros((0,), np.int32)], "Gather", {"axis": 0})
case("split", [numbers(7)], "Split", {"axis": 0, "parts": 3}, {"axis": 0, "num_outputs": 3}, outputs=3)
case("shape", [numbers(2, 0, 3)], "Shape")
case("shape", [numbers(2, 5, 3)], "Shape", {"start": -2, "end": 2})
case("shape", [scalar(1.0, np.float32)], "Shape")
case("size", [numbers(2, 5, 3)], "Size")
case("range", [scalar(3), scalar(10), scalar(3)], "Range")
case("range", [scalar(3, np.int32), scalar(-4, np.int32), scalar(-2, np.int32)], "Range")
case("range", [scalar(3), scalar(1), scalar(1)], "Range")
case("range", [scalar(0.5, np.float32), scalar(2.0, np.float32), scalar(0.5, np.float32)], "Range")
for dtype in [np.float32, np.float64, np.int32, np.int64]:
    x = numbers(2, 3, 4, dtype=dtype)
    for axis in (0, 1, -1):
        for flags in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}):
            case("cumulative_sum", [x, scalar(axis)], "CumSum", flags)
case("cumulative_sum", [np.zeros((0, 2), np.int64), scalar(1)], "CumSum")
data = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
case("gather_nd", [data, np.array([[0, -1], [1, 0]])], "GatherND")
case("gather_nd", [data, np.array([[[0, 1, 2]], [[1, 1, -3]]])], "GatherND")
case("gather_nd", [data, np.array([[1], [-2]])], "GatherND", {"batch_dims": 1})
case("gather_nd", [data.astype(np.int64), np.zeros((0, 2), np.int64)], "GatherND")
for reduction in ("none", "add", "mul", "max", "min"):
    for dtype in (np.float32, np.int32, np.int64):
        x = numbers(3, 4, dtype=dtype)
        where = np.array([[0, -1], [2, 1], [2, 2]]) if reduction == "none" else np.array([[0, -1], [2, 2], [1, 1]])
        case("scatter_elements", [x, where, numbers(3, 2, dtype=dtype)], "ScatterElements", {"axis": 1, "reduction": reduction})
        places = np.array([[0], [-1]]) if reduction == "none" else np.array([[1], [1]])
        case("scatter_nd", [x, places, numbers(2, 4, dtype=dtype)], "ScatterND", {"reduction": reduction})
case("scatter_nd", [numbers(2, 3, 4), np.array([[[0, -1]], [[1, 0]]]), numbers(2, 1, 4)], "ScatterND")
for upper in (0, 1):
    for k in (None, scalar(0), scalar(1), scalar(-2), scalar(9)):
        case("trilu", [numbers(2, 3, 4), k], "Trilu", {"upper": upper})
case("trilu", [numbers(3, 3, dtype=bool)], "Trilu", {"upper": 1})
for axis in (-1, 0, 1):
    case("one_hot", [np.array([[0, 2], [-1, 5]]), scalar(3), np.array([0.5, 2], np.float32)], "OneHot", {"axis": axis})
save("one_hot", [np.array([1.0, -2.0], np.float32), scalar(3.0, np.float32), i64(0, 7)], {}, [np.array([[0, 7, 0], [0, 7, 0]], np.int64)])
for x in (numbers(3, 4), np.zeros((2, 0), np.float32), numbers(4, dtype=bool), numbers(2, 2, 3, dtype=np.int64)):
    save("non_zero", [x], {}, [np.array(np.nonzero(x), np.int64)])
x = numbers(2, 5)
for mode in ("edge", "reflect", "wrap"):
    case("pad", [x, i64(1, 3, 0, 2)], "Pad", {"mode": mode})
case("pad", [x, i64(2, 1), None, i64(-1)], "Pad")

# --- reductions ---
REDUCE = {"mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd", "l1": "ReduceL1",
          "l2": "ReduceL2", "sum_square": "ReduceSumSquare", "log_sum": "ReduceLogSum", "log_sum_exp": "ReduceLogSumExp"}
for name, onnx_op in REDUCE.items():
    x = np.abs(numbers(2, 3, 4)) + 1 if name == "log_sum" else numbers(2, 3, 4)
    for axes in (None, i64(1), i64(-1, 0), i64(0, 1, 2)):
        for keep in (0, 1):
            case("reduce", [x, axes], onnx_op, {"function": name, "keep_dims": keep}, {"keepdims": keep}, opset=18)
    x = numbers(1) + 3
    save("reduce", [x[0]], {"function": name}, [by_onnx(onnx_op, [x], {"keepdims": 1}, 1, 18)[0][0]])
for name in ("sum", "prod", "max", "min", "sum_square", "l1"):
    for dtype in (np.int32, np.int64):
        x = numbers(2, 3, dtype=dtype)  # the evaluator widens some sums
        save("reduce", [x, i64(-1)], {"function": name, "keep_dims": 0},
             [by_onnx(REDUCE[name], [x, i64(-1)], {"keepdims": 0}, 1, 18)[0].astype(dtype)])
for name in ("max", "min"):
    case("reduce", [special.reshape(1, -1), i64(1)], REDUCE[name], {"function": name}, {}, opset=18)
    for dtype in (np.int8, np.uint8):
        case("reduce", [numbers(2, 3, dtype=dtype), i64(0)], REDUCE[name], {"function": name}, {}, opset=18)
empty = np.zeros((2, 0, 3), np.float32)
for name, value in (("sum", 0), ("prod", 1), ("max", -np.inf), ("min", np.inf), ("l1", 0), ("l2", 0), ("sum_square", 0),
                    ("log_sum", -np.inf), ("log_sum_exp", -np.inf)):
    save("reduce", [empty, i64(1)], {"function": name}, [np.full((2, 1, 3), value, np.float32)])
case("reduce", [numbers(2, 3), i64()], "ReduceSum", {"function": "sum", "noop_with_empty_axes": 1}, {"noop_with_empty_axes": 1})
for x in (numbers(2, 3, 4), np.array([[1, 3, 3, 2]], np.int32), np.array([[np.nan, 1, np.nan, 2]], np.float32)):
    for name, onnx_op in (("max", "ArgMax"), ("min", "ArgMin")):
        for last in (0, 1) if not np.isnan(x).any() else (0,):
            case("arg_reduce", [x], onnx_op, {"function": name, "axis": -1, "keep_dims": last, "select_last": last},
                 {"axis": -1, "keepdims": last, "select_last_index": last})
x = np.array([[3, 1, 2, 2, 5], [0, 0, 0, -1, 7]], np.float32)
for largest in (0, 1):
    order = np.argsort(-x if largest else x, axis=1, kind="stable")[:, :3]
    save("top_k", [x, i64(3)], {"axis": 1, "largest": largest}, [np.take_along_axis(x, order, 1), order.astype(np.int64)])
    order = np.argsort(-x.T if largest else x.T, axis=0, kind="stable")[:1]
    save("top_k", [x.T.astype(np.int64), i64(1)], {"axis": 0, "largest": largest},
         [np.take_along_axis(x.T, order, 0).astype(np.int64), order.astype(np.int64)])

# --- products ---
for a, b in (((2, 3), (3, 5)), ((4, 2, 3), (3, 5)), ((2, 1, 4, 3), (5, 3, 2)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,)), ((2, 5, 3), (3,)),
             ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((1, 33), (33, 65))):
    x, y = numbers(*a), numbers(*b)
    save("matmul", [x, y], {}, [x.astype(np.float64) @ y.astype(np.float64)])
for dtype in (np.int32, np.int64, np.float16, np.float64):
    x, y = numbers(2, 3, dtype=dtype), numbers(3, 4, dtype=dtype)
    save("matmul", [x, y], {}, [x @ y])
for a_dtype in (np.int8, np.uint8):
    for b_dtype in (np.int8, np.uint8):
        a, b = random.integers(-100, 100, (2, 4, 5)).astype(a_dtype), random.integers(-100, 100, (5, 3)).astype(b_dtype)
        save("matmul_integer", [a, b], {}, [a.astype(np.int32) @ b.astype(np.int32)])
        za, zb = scalar(7, a_dtype), numbers(3, dtype=b_dtype)
        save("matmul_integer", [a, b, za, zb], {}, [(a.astype(np.int32) - za) @ (b.astype(np.int32) - zb.astype(np.int32))])
        za = numbers(4, dtype=a_dtype)
        save("matmul_integer", [a, b, za], {}, [(a.astype(np.int32) - za.astype(np.int32)[:, None]) @ b.astype(np.int32)])
for equation, shapes in (("ij,jk->ik", [(2, 3), (3, 4)]), ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)]), ("ij->ji", [(2, 3)]), ("ij->", [(2, 3)]),
                         ("ii->i", [(3, 3)]), ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]), ("ij,jk", [(2, 3), (3, 4)]), ("i,i->", [(3,), (3,)]),
                         ("bij, bkl -> bijkl", [(2, 1, 3), (2, 2, 1)]), ("i,ij,j->", [(2,), (2, 3), (3,)]), ("...ii->...i", [(2, 3, 3)]),
                         ("zaj,jb", [(2, 3, 4), (4, 2)]), ("ij,jk->ik", [(2, 0), (0, 4)])):
    operands = [numbers(*shape) for shape in shapes]
    save("einsum", operands, {"equation": equation}, [np.einsum(equation, *[x.astype(np.float64) for x in operands])])
x = numbers(2, 3, dtype=np.int64)
save("einsum", [x, x], {"equation": "ij,kj->ik"}, [x @ x.T])
for axis in (-1, 0, 1):
    case("softmax", [numbers(2, 3, 4, scale=3)], "Softmax", {"axis": axis})
    case("softmax", [numbers(2, 3, 4, scale=3)], "LogSoftmax", {"axis": axis, "logarithm": 1}, {"axis": axis})
case("softmax", [np.zeros((2, 0), np.float32)], "Softmax", {"axis": 0})
save("softmax", [np.array([[-np.inf, 0, 0], [-np.inf] * 3], np.float32)], {}, [np.array([[0, 0.5, 0.5], [np.nan] * 3])])

# --- eight bits ---
x = np.array([[-300, -1.5, 0.5, 1.5, 2.5], [0.25, -0.25, 130, 300, -0.75]], np.float32)
for dtype in (np.int8, np.uint8):
    case("quantize_linear", [x, scalar(0.5, np.float32), scalar(3, dtype)], "QuantizeLinear")
    scale, zero = np.array([0.5, 2], np.float32), np.array([1, 4], dtype)
    case("quantize_linear", [x, scale, zero], "QuantizeLinear", {"axis": 0})
    q = random.integers(0, 100, (2, 4, 3)).astype(dtype)
    case("dequantize_linear", [q, scalar(0.5, np.float32), scalar(3, dtype)], "DequantizeLinear")
    case("dequantize_linear", [q, numbers(4), numbers(4, dtype=dtype)], "DequantizeLinear", {"axis": 1})
    blocks, zeros = np.abs(numbers(2, 2, 3)) + 0.5, numbers(2, 2, 3, dtype=dtype)
    case("dequantize_linear", [q, blocks, zeros], "DequantizeLinear", {"axis": 1, "block_size": 2})
    case("quantize_linear", [numbers(2, 4, 3, scale=4), blocks, zeros], "QuantizeLinear", {"axis": 1, "block_size": 2})
case("quantize_linear", [x, scalar(0.5, np.float32)], "QuantizeLinear")
save("quantize_linear", [np.array([-3, 5, 1000], np.int32), scalar(2, np.float32), scalar(0, np.int8)], {}, [np.array([-2, 2, 127], np.int8)])
case("dequantize_linear", [np.array([-7, 1000], np.int32), scalar(0.5, np.float32)], "DequantizeLinear")
for dtype in (np.int8, np.uint8):
    scale, zero = np.float32(0.5), 3
    level = np.clip(np.rint(x / scale) + zero, np.iinfo(dtype).min, np.iinfo(dtype).max) - zero
    save("fake_quantize", [x, scalar(scale, np.float32), scalar(zero, dtype)], {}, [(level * scale).astype(np.float32)])
rows = np.array([[127, 2.5, 3.5, -2.5, 0.49], [0, 0, 0, 0, 0], [-0.5, 0.25, 0.126, 0.001, 0]], np.float32)
step = np.abs(rows).max(-1, keepdims=True) / np.float32(127)
level = np.rint(rows * np.divide(np.float32(127), np.abs(rows).max(-1, keepdims=True), where=step > 0, out=np.zeros_like(step)))
save("fake_quantize", [rows], {}, [(level * step).astype(np.float32)])

json.dump(cases, sys.stdout, separators=(",", ":"))
print()
