"""Writes reference_golden.json: small cases of every op with results by NumPy and SciPy in float64.

    python tests/conformance/make_reference_golden.py > tests/conformance/reference_golden.json

Each op is written from its definition in ONNX's or docs/design/ops.md's words, with whole-array operations.
"""

import json
import sys

import numpy as np
from scipy import special

random = np.random.default_rng(7)
cases = []


def numbers(*shape, scale=1.0):
    """Few digits, so that float32 and float16 hold them exactly."""
    return np.round(random.standard_normal(shape) * scale * 16) / 16


def tensor(array):
    array = np.asarray(array)
    kind = "i32" if array.dtype.kind in "iu" else "f32"
    return {"dtype": kind, "shape": list(array.shape), "values": array.ravel().tolist()}


def case(op, inputs, result, attributes=None, lengths=(), columns=(), queries_only=()):
    cases.append({"op": op, "attributes": attributes or {}, "inputs": [None if x is None else tensor(x) for x in inputs],
                  "lengths": list(lengths), "columns": list(columns), "queries_only": list(queries_only),
                  "result": tensor(np.asarray(result, np.float64))})


def normalised(x, gamma, beta, epsilon):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) * gamma + beta


def attention(q, k, v, heads, scale, keep=None, bias=None, columns=None):
    """q, k, v [S, H*D]; keep [S]; bias [H, 2P-1]."""
    def split(x):
        return x.reshape(len(x), heads, -1).transpose(1, 0, 2)
    columns = np.arange(len(q)) if columns is None else np.asarray(columns)
    scores = scale * split(q) @ split(k).transpose(0, 2, 1)
    if bias is not None:
        middle = bias.shape[1] // 2
        scores = scores + bias[:, middle + columns[None, :] - columns[:, None]]
    if keep is not None:
        scores = np.where(np.asarray(keep)[None, None, :] != 0, scores, -np.inf)
    return (special.softmax(scores, axis=-1) @ split(v)).transpose(1, 0, 2).reshape(len(q), -1)


GELU = {"none": lambda x: x * special.ndtr(x),
        "tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))}
ACTIVATION = {"none": lambda x: x, "gelu": GELU["none"], "gelu_tanh": GELU["tanh"], "relu": lambda x: np.maximum(x, 0),
              "silu": lambda x: x * special.expit(x), "tanh": np.tanh}
UNARY = {"relu": ACTIVATION["relu"], "silu": ACTIVATION["silu"], "tanh": np.tanh, "sigmoid": special.expit, "erf": special.erf,
         "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "reciprocal": np.reciprocal, "neg": np.negative, "abs": np.abs}
BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power, "min": np.minimum,
          "max": np.maximum}

table, ids = numbers(5, 3), np.array([[4, 0], [2, 2]])
case("embedding", [table, ids], table[ids])
x, weight, bias = numbers(2, 2, 11), numbers(3, 11), numbers(3)
case("linear", [x, weight, None], x @ weight.T)
for name, function in ACTIVATION.items():
    case("linear", [x, weight, bias], function(x @ weight.T + bias), {"activation": name})
for name, function in BINARY.items():
    a, b = np.abs(numbers(2, 1, 3)) + 1, np.abs(numbers(4, 1)) + 1
    case("elementwise", [a, b], function(a, b), {"function": name})
    case("elementwise", [b, np.array(2.0)], function(b, 2.0), {"function": name})
for name, function in UNARY.items():
    x = np.abs(numbers(2, 3)) + 0.5 if name in ("log", "sqrt", "reciprocal") else numbers(2, 3)
    case("unary", [x], function(x), {"function": name})
for name, function in GELU.items():
    x = np.concatenate([numbers(5, scale=3), [0.0]])
    case("gelu", [x], function(x), {"approximate": name})
x, residual, gamma, beta = numbers(2, 2, 5), numbers(2, 2, 5), numbers(5), numbers(5)
case("layer_norm", [x, gamma, beta], normalised(x, gamma, beta, 0.01), {"epsilon": 0.01})
case("skip_layer_norm", [x, residual, gamma, beta], normalised(x + residual, gamma, beta, 0.01), {"epsilon": 0.01})
word, types, positions = numbers(6, 5), numbers(2, 5), numbers(4, 5)
a, b, c = np.array([5, 0, 3]), np.array([0, 1, 1]), np.array([0, 3, 1])
case("embedding_layer_norm", [a, b, c, word, types, positions, gamma, beta],
     normalised(word[a] + types[b] + positions[c], gamma, beta, 0.01), {"epsilon": 0.01})
case("embedding_layer_norm", [a, None, c, word, None, positions, gamma, beta],
     normalised(word[a] + positions[c], gamma, beta, 0.01), {"epsilon": 0.01})
x, rows = numbers(5, 3), np.array([4, 0, 0])
case("gather_rows", [x, rows], x[rows])
x = numbers(3, 4)
case("normalize", [x], x / np.linalg.norm(x, axis=-1, keepdims=True), {"epsilon": 1e-12})
case("normalize", [np.zeros((1, 4))], np.zeros((1, 4)), {"epsilon": 1e-12})

POOL = {"mean": lambda x: x.mean(0), "cls": lambda x: x[0], "max": lambda x: x.max(0),
        "mean_sqrt_length": lambda x: x.sum(0) / np.sqrt(len(x))}
packed, padded, mask = numbers(5, 3), numbers(2, 3, 3), np.array([[1, 1, 0], [0, 1, 1]])
for name, function in POOL.items():
    def masked(row, keep):
        """CLS is the first row, attended or not."""
        return row[0] if name == "cls" else function(row[np.asarray(keep) != 0])
    pieces = [function(packed[:2]), np.zeros(3), function(packed[2:])]
    case("pool", [packed, None], pieces, {"mode": name}, lengths=[2, 0, 3])
    case("pool", [packed, None], [masked(packed[:2], [0, 1]), masked(packed[2:], [1, 1, 1])], {"mode": name}, lengths=[2, 3],
         queries_only=[1, 0])
    case("pool", [padded, mask], [masked(*x) for x in zip(padded, mask)], {"mode": name})
    case("pool", [padded, None], [function(row) for row in padded], {"mode": name})

heads, dim, scale = 2, 3, 0.5
plain = {"heads": heads, "scale": scale}
q, k, v = (numbers(2, 3, heads * dim) for _ in range(3))
relative = numbers(heads, 2 * 4 - 1)
case("attention", [q, k, v, None, None], [attention(*x, heads, scale) for x in zip(q, k, v)], plain)
case("attention", [q, k, v, mask, relative],
     [attention(*x, heads, scale, keep, relative) for *x, keep in zip(q, k, v, mask)], plain)
qkv = numbers(5, 3 * heads * dim)
lengths, columns = [2, 0, 3], [0, 2, 0, 1, 3]


def packed_attention(bias=None, columns=None, keep=None):
    rows = []
    for begin, end in ((0, 2), (2, 5)):
        place = None if columns is None else columns[begin:end]
        kept = None if keep is None else keep[begin:end]
        rows.append(attention(*np.split(qkv[begin:end], 3, -1), heads, scale, kept, bias, place))
    return np.concatenate(rows)


inside = {**plain, "packed_qkv": 1}
case("attention", [qkv], packed_attention(), inside, lengths)
case("attention", [*np.split(qkv, 3, -1), None, relative], packed_attention(relative), plain, lengths)
case("attention", [qkv, None, None, None, relative], packed_attention(relative, columns), inside, lengths, columns)
case("attention", [qkv, None, None, None, None, np.array([4, 1])], packed_attention()[[4, 1]], inside, lengths)
keep = [0, 1, 0, 0, 1]  # what queries_only [1, 0, 2] leaves to be attended to
case("attention", [qkv], packed_attention(keep=keep), inside, lengths, queries_only=[1, 0, 2])
case("attention", [qkv, None, None, None, relative], packed_attention(relative, columns, keep), inside, lengths, columns, [1, 0, 2])
case("attention", [qkv, None, None, None, relative], packed_attention(relative, keep=keep), inside, lengths, (), [1, 0, 2])
case("attention", [qkv, None, None, None, None, np.array([3, 0])], packed_attention(keep=keep)[[3, 0]], inside, lengths, (), [1, 0, 2])

x = numbers(2, 3, 2)
case("pack_rows", [x], x[[0, 0, 1, 1, 1], [0, 1, 0, 1, 2]], lengths=[2, 3])
case("pack_rows", [x], x[[0, 1, 1], [2, 0, 2]], lengths=[1, 2], columns=[2, 0, 2])
case("pack_rows", [x[:1]], x[[0, 0, 0], [2, 0, 2]], lengths=[1, 2], columns=[2, 0, 2])
case("pack_rows", [x[:, 1:2]], x[[0, 1, 1], [1, 1, 1]], lengths=[1, 2], columns=[2, 0, 2])

json.dump(cases, sys.stdout, separators=(",", ":"))
print()
