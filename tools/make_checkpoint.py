#!/usr/bin/env python3
"""Writes a BERT checkpoint as a Hugging Face folder, with seeded weights of a trained model's statistics.

    tools/make_checkpoint.py base|large|minilm|LAYERS,HIDDEN,HEADS,FFN --out DIR [--dtype f32|f16|bf16] [--seed N] [--mlm]

For tests and benchmarks that need a model's shape and number ranges but no knowledge. As in trained models: the spread of
each matrix goes with its role and depth, heads differ in sharpness, LayerNorm gains lie near 0.85, and a few channels, the
same in every layer, carry values 10 to 60 times those of the others. The tokenizer is the bundled model's.

The same arguments give the same bytes on every machine and with every NumPy: 64-bit PCG64 integers, which NumPy keeps
stable, become numbers by single IEEE operations only.
"""
import argparse
import json
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np

SIZES = {"minilm": (6, 384, 12, 1536), "base": (12, 768, 12, 3072), "large": (24, 1024, 16, 4096)}
VOCABULARY, POSITIONS, TYPES = 30522, 512, 2
BUNDLED = Path(__file__).resolve().parent.parent / "models" / "minilm-l6-mlm"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
DTYPES = {"f32": ("F32", "float32", 4), "f16": ("F16", "float16", 2), "bf16": ("BF16", "bfloat16", 2)}


class Draw:
    """Independent streams by name: a tensor's numbers depend on the seed, its name and its shape alone."""

    def __init__(self, seed):
        self.seed = seed

    def integers(self, name, count):
        return np.random.PCG64(np.random.SeedSequence([self.seed, zlib.crc32(name.encode())])).random_raw(count)

    def normal(self, name, *shape):
        """Mean 0, spread 1, tails a little heavier than a normal distribution's, |x| < 6."""
        count = int(np.prod(shape))
        result = np.empty(count, np.float32)
        raw = self.integers(name, count)
        for begin in range(0, count, 1 << 16):
            words = raw[begin:begin + (1 << 16)].astype("<u8").view("<u2").reshape(-1, 4)
            total = words[:, 0].astype(np.int32)
            for column in (1, 2, 3):
                total += words[:, column]
            x = (total - 131070).astype(np.float32) * np.float32(1 / 37837.2)
            result[begin:begin + (1 << 16)] = x * (x * x * np.float32(0.05) + np.float32(0.86))
        return result.reshape(shape)

    def channels(self, name, count, of):
        """`count` distinct channel numbers below `of`."""
        return list(dict.fromkeys((self.integers(name, 64) % of).tolist()))[:count]


def encoder_tensors(draw, layers, hidden, heads, ffn):
    """Yields (name, shape, function that draws it); names without the `bert.` prefix."""
    outliers = draw.channels("outliers", max(2, hidden // 192), hidden)
    unit = 1 / np.sqrt(hidden)  # a matrix of this spread keeps the size of what it multiplies

    def matrix(name, rows, columns, spread, row_scale=None, like=None):
        def make():
            w = draw.normal(name, rows, columns) * np.float32(spread)
            if like:  # keys lean to their queries: heads look for similar tokens
                w = w * np.float32(0.9) + draw.normal(like, rows, columns) * np.float32(0.4 * spread)
            if columns == hidden:
                w[:, outliers] *= np.float32(0.25)  # trained readers of the residual stream damp its outliers
            return w if row_scale is None else w * row_scale
        return name, (rows, columns), make

    def vector(name, size, mean, spread):
        return name, (size,), lambda: draw.normal(name, size) * np.float32(spread) + np.float32(mean)

    def norm(prefix, gain):
        def gamma():
            g = draw.normal(prefix + "weight", hidden) * np.float32(0.06) + np.float32(gain)
            g[outliers] *= np.float32(1.55)
            return g

        def beta():
            b = draw.normal(prefix + "bias", hidden) * np.float32(0.08)
            b[outliers[::2]] *= np.float32(16)
            return b
        return [(prefix + "weight", (hidden,), gamma), (prefix + "bias", (hidden,), beta)]

    def feed_forward_out(name, spread):
        def make():
            w = draw.normal(name, hidden, ffn) * np.float32(spread)
            # Rows of mean 0, or GELU's positive mean would pull all tokens to one point. Integers: no rounding in the sum.
            total = (w * np.float32(1 << 20)).astype(np.int64).sum(axis=1)
            w -= (total.astype(np.float32) / np.float32(ffn << 20))[:, None]
            for row in outliers:  # a few huge weights write the outlier channels
                places = draw.channels(f"{name}/{row}", 6, ffn)
                w[row, places] *= np.float32(60)
            return w
        return name, (hidden, ffn), make

    e = "embeddings."
    yield matrix(e + "word_embeddings.weight", VOCABULARY, hidden, 0.045)
    yield matrix(e + "position_embeddings.weight", POSITIONS, hidden, 0.022)
    yield matrix(e + "token_type_embeddings.weight", TYPES, hidden, 0.015)
    yield from norm(e + "LayerNorm.", 0.9)
    for i in range(layers):
        p = f"encoder.layer.{i}."
        depth = i / max(1, layers - 1)
        sharpness = np.repeat(draw.normal(p + "sharpness", heads) * np.float32(0.3) + np.float32(1.0), hidden // heads)
        sharpness = np.abs(sharpness)[:, None].astype(np.float32)
        for part, spread, bias in (("query", 1.7, 0.25), ("key", 1.7, 0.03), ("value", 0.75 + 0.25 * depth, 0.05)):
            name = p + "attention.self." + part
            yield matrix(name + ".weight", hidden, hidden, spread * unit, None if part == "value" else sharpness,
                         name.replace("key", "query") + ".weight" if part == "key" else None)
            yield vector(name + ".bias", hidden, 0.0, bias)
        yield matrix(p + "attention.output.dense.weight", hidden, hidden, 0.8 * unit)
        yield vector(p + "attention.output.dense.bias", hidden, 0.0, 0.06)
        yield from norm(p + "attention.output.LayerNorm.", 0.85)
        yield matrix(p + "intermediate.dense.weight", ffn, hidden, (1.0 + 0.2 * depth) * unit)
        yield vector(p + "intermediate.dense.bias", ffn, -0.08, 0.1)
        yield feed_forward_out(p + "output.dense.weight", (1.15 - 0.2 * depth) * unit)
        yield vector(p + "output.dense.bias", hidden, 0.0, 0.06)
        yield from norm(p + "output.LayerNorm.", 0.8 if i + 1 < layers else 0.65)


def mlm_tensors(draw, hidden):
    t = "cls.predictions.transform."
    for name, shape, mean, spread in ((t + "dense.weight", (hidden, hidden), 0, 1 / np.sqrt(hidden)),
                                      (t + "dense.bias", (hidden,), 0, 0.05),
                                      (t + "LayerNorm.weight", (hidden,), 2, 0.15),
                                      (t + "LayerNorm.bias", (hidden,), 0, 0.2),
                                      ("cls.predictions.bias", (VOCABULARY,), -0.4, 0.3)):
        yield name, shape, lambda n=name, s=shape, m=mean, d=spread: draw.normal(n, *s) * np.float32(d) + np.float32(m)


def stored_bytes(array, dtype):
    if dtype == "bf16":  # round to nearest even on the bits
        bits = array.astype("<f4").view("<u4")
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return array.astype({"f32": "<f4", "f16": "<f2"}[dtype]).tobytes()


def write_safetensors(path, tensors, dtype):
    code, _, size = DTYPES[dtype]
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _ in tensors:
        end = offset + size * int(np.prod(shape))
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, make in tensors:
            file.write(stored_bytes(make(), dtype))


def make_checkpoint(size, out, dtype="f32", seed=1, mlm=False):
    """size: a key of SIZES or (layers, hidden, heads, ffn)."""
    layers, hidden, heads, ffn = SIZES[size] if size in SIZES else size
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    draw = Draw(seed)
    tensors = list(encoder_tensors(draw, layers, hidden, heads, ffn))
    if mlm:
        tensors = [("bert." + name, shape, make) for name, shape, make in tensors] + list(mlm_tensors(draw, hidden))
    config = {"architectures": ["BertForMaskedLM" if mlm else "BertModel"], "model_type": "bert", "dtype": DTYPES[dtype][1],
              "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads, "intermediate_size": ffn,
              "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "type_vocab_size": TYPES, "hidden_act": "gelu",
              "layer_norm_eps": 1e-12, "pad_token_id": 0, "attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1,
              "initializer_range": 0.02, "position_embedding_type": "absolute", "tie_word_embeddings": True}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in TOKENIZER_FILES:
        shutil.copyfile(BUNDLED / name, out / name)
    write_safetensors(out / "model.safetensors", tensors, dtype)


def parse_size(text):
    if text in SIZES:
        return text
    try:
        size = tuple(int(part) for part in text.split(","))
    except ValueError:
        size = ()
    if len(size) != 4 or min(size) < 1 or size[1] % size[2]:
        raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(SIZES)} nor LAYERS,HIDDEN,HEADS,FFN with HIDDEN "
                                         "a multiple of HEADS")
    return size


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("size", type=parse_size)
    parser.add_argument("--out", required=True)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mlm", action="store_true", help="with a masked-language-model head on tied embeddings")
    arguments = parser.parse_args()
    make_checkpoint(arguments.size, arguments.out, arguments.dtype, arguments.seed, arguments.mlm)
    return 0


if __name__ == "__main__":
    sys.exit(main())
