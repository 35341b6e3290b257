#!/usr/bin/env python3
"""Writes the encoder of a Hugging Face BERT folder as ONNX in plain ops, as an exporter would: what the rivals run.

    bench/onnx_bert.py FOLDER FILE.onnx [--no-mask]

Inputs input_ids, token_type_ids and, unless --no-mask, attention_mask, i64 [batch, sequence]; output last_hidden_state, f32
[batch, sequence, hidden]. The spelling is that of PyTorch's exporter, which the rivals' fusions look for.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
STORED = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}


def read_safetensors(path):
    """name -> float32 array, of F32, F16 and BF16 tensors."""
    data = np.memmap(path, np.uint8, "r")
    size = int.from_bytes(data[:8].tobytes(), "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + size].tobytes()).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            array = (np.frombuffer(data[begin:end], "<u2").astype("<u4") << 16).view("<f4")
        else:
            array = np.frombuffer(data[begin:end], STORED[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"]).astype(np.float32)
    return tensors


def encoder_weights(folder):
    """(config, name -> float32 array without the `bert.` prefix)."""
    config = json.loads((Path(folder) / "config.json").read_text())
    tensors = read_safetensors(Path(folder) / "model.safetensors")
    prefix = "bert." if any(name.startswith("bert.") for name in tensors) else ""
    return config, {name[len(prefix):]: array for name, array in tensors.items()
                    if name.startswith((prefix + "embeddings.", prefix + "encoder."))}


class Graph:
    """Nodes and initializers in order; values are named after what made them."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def constant(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def op(self, kind, name, *inputs, **attributes):
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name


def build(folder, with_mask=True):
    config, weights = encoder_weights(folder)
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    dim = hidden // heads
    g = Graph()

    def integers(name, *values):
        return g.constant(name, np.array(values, np.int64))

    def number(name, value):
        return g.constant(name, np.float32(value))

    def linear(name, x):
        weight = g.constant(name + ".weight_t", weights[name + ".weight"].T)
        return g.op("Add", name, g.op("MatMul", name + "/product", x, weight), g.constant(name + ".bias", weights[name + ".bias"]))

    def layer_norm(name, x):
        parts = [g.constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        return g.op("LayerNormalization", name, x, *parts, axis=-1, epsilon=config["layer_norm_eps"])

    zero, one, two = integers("zero", 0), integers("one", 1), integers("two", 2)
    columns = g.op("Gather", "sequence", g.op("Shape", "shape", "input_ids"), g.constant("first_axis", np.int64(1)), axis=0)
    positions = g.op("Slice", "position_ids", g.constant("all_positions", np.arange(config["max_position_embeddings"])[None]),
                     zero, g.op("Unsqueeze", "sequence_1d", columns, zero), one, one)
    e = "embeddings."
    words, types, places = (g.op("Gather", e + part, g.constant(f"{e}{part}.weight", weights[f"{e}{part}.weight"]), ids, axis=0)
                            for part, ids in (("word_embeddings", "input_ids"), ("token_type_embeddings", "token_type_ids"),
                                              ("position_embeddings", positions)))
    x = layer_norm(e + "LayerNorm", g.op("Add", e + "sum", g.op("Add", e + "words_and_types", words, types), places))

    if with_mask:
        kept = g.op("Unsqueeze", "mask_4d", g.op("Unsqueeze", "mask_3d", "attention_mask", one), two)
        kept = g.op("Cast", "mask_float", kept, to=TensorProto.FLOAT)
        mask = g.op("Mul", "mask_bias", g.op("Sub", "masked", number("one_float", 1), kept),
                    number("lowest", np.finfo(np.float32).min))
    split, merge = integers("split_heads", 0, 0, heads, dim), integers("merge_heads", 0, 0, hidden)
    root_dim, root_two, half = number("root_dim", np.sqrt(dim)), number("root_two", np.sqrt(2)), number("half", 0.5)
    unit = number("unit", 1)

    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        a = p + "attention."

        def by_head(part, order):
            rows = g.op("Reshape", f"{a}{part}_heads", linear(f"{a}self.{part}", x), split)
            return g.op("Transpose", f"{a}{part}_turned", rows, perm=order)

        scores = g.op("MatMul", a + "products", by_head("query", [0, 2, 1, 3]), by_head("key", [0, 2, 3, 1]))
        scores = g.op("Div", a + "scores", scores, root_dim)
        if with_mask:
            scores = g.op("Add", a + "masked_scores", scores, mask)
        context = g.op("MatMul", a + "context", g.op("Softmax", a + "shares", scores, axis=-1), by_head("value", [0, 2, 1, 3]))
        context = g.op("Reshape", a + "merged", g.op("Transpose", a + "turned_back", context, perm=[0, 2, 1, 3]), merge)
        x = layer_norm(a + "output.LayerNorm", g.op("Add", a + "sum", linear(a + "output.dense", context), x))
        y = linear(p + "intermediate.dense", x)
        bell = g.op("Add", p + "erf_plus_1", g.op("Erf", p + "erf", g.op("Div", p + "scaled", y, root_two)), unit)
        y = g.op("Mul", p + "gelu", g.op("Mul", p + "twice_gelu", y, bell), half)
        x = layer_norm(p + "output.LayerNorm", g.op("Add", p + "sum", linear(p + "output.dense", y), x))
    g.op("Identity", "last_hidden_state", x)

    names = ["input_ids", "token_type_ids"] + (["attention_mask"] if with_mask else [])
    graph = helper.make_graph(
        g.nodes, "bert", [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in names],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", hidden])], g.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("file")
    parser.add_argument("--no-mask", action="store_true")
    arguments = parser.parse_args()
    onnx.save(build(arguments.folder, not arguments.no_mask), arguments.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
