#!/usr/bin/env python3
"""Speed of the tokenizers against Hugging Face's `tokenizers`: one thread, the same texts, CPU time, rounds in turn.

usage: tokenizer_speed.py TOKENIZE_DUMP [TOKENIZER ...] [--rounds N]
TOKENIZE_DUMP is the program of tests/tools; a TOKENIZER is a tokenizer.json or a folder. Both sides make whole encodings
with character offsets; Hugging Face's is measured inside one encode_batch, which spares it the calls from Python.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "parity"))
from sample_texts import make_texts  # noqa: E402


def text_sets(rounds):
    """Name -> the texts of each round."""
    real = [line for name in ("calibration.txt", "evaluation.txt")
            for line in (ROOT / "tests" / "data" / name).read_text().splitlines() if line]
    return {
        "English lines": [real] * rounds,
        "English, one text": [[" ".join(real)]] * rounds,
        "many scripts, new": [make_texts(1500, 7 + index, real) for index in range(rounds)],  # no cache knows its words
    }


class Bertie:
    def __init__(self, program, path):
        self.process = subprocess.Popen([program, str(path), "--time"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, texts):
        self.process.stdin.write(json.dumps({"texts": texts}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["seconds"], answer["tokens"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def hugging_face_seconds(tokenizer, texts):
    start = time.thread_time()
    encodings = tokenizer.encode_batch(texts)
    return time.thread_time() - start, sum(map(len, encodings))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("tokenizers", nargs="*")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    data = ROOT / "tests" / "data" / "tokenizers"
    paths = [pathlib.Path(path) for path in arguments.tokenizers] or [
        ROOT / "models" / "minilm-l6-mlm", *(data / f"{name}.json" for name in ("bert_cased", "roberta", "xlm_roberta", "albert"))]

    print(f"{'tokenizer':<16}{'texts':<20}{'tokens':>8}{'bertie Mtok/s':>15}{'HF Mtok/s':>12}{'ratio':>8}")
    for path in paths:
        file = path / "tokenizer.json" if path.is_dir() else path
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        bertie = Bertie(arguments.program, path)
        for name, sets in text_sets(arguments.rounds + 2).items():
            ours, theirs = [], []  # seconds a token
            for index, texts in enumerate(sets):
                seconds, tokens = bertie.seconds(texts)
                other_seconds, other_tokens = hugging_face_seconds(tokenizer, texts)
                assert tokens == other_tokens, f"{path}: {tokens} tokens here, {other_tokens} there"
                if index >= 2:  # the first rounds fill caches on both sides
                    ours.append(seconds / tokens)
                    theirs.append(other_seconds / tokens)
            mine, other = statistics.median(ours), statistics.median(theirs)
            print(f"{path.stem:<16}{name:<20}{tokens:>8}{1e-6 / mine:>15.2f}{1e-6 / other:>12.2f}{other / mine:>7.1f}x",
                  flush=True)
        bertie.close()


if __name__ == "__main__":
    main()
