#!/usr/bin/env python3
"""From the command's start to its first answer, and the memory it takes: `bertie run --task fill-mask` on one text, from a folder and
from engine files, in float32 and in eight bits; prints a Markdown table.

    bench/startup.py [--bertie PROGRAM] [--model FOLDER] [--runs 20] [--json FILE]

The ways take turns. Targets, of the folder in float32: a median of 0.3 s; a peak resident set of 1.3 times the weights as they run and the
workspace. The workspace of one short text is small and is not counted here, so that the target is a little stricter than it says. Exit status 1:
one is missed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = "The capital of France, [MASK], contains the Eiffel Tower."
SECONDS, MEMORY = 0.3, 1.3


def run_once(command):
    """(seconds to the first byte of the answer, seconds to the end, peak resident bytes)"""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    first = os.read(process.stdout.fileno(), 1)
    answered = time.perf_counter() - start
    answer = first + process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    ended = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or b"masks" not in answer:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}, {len(answer)} bytes")
    return answered, ended, usage.ru_maxrss * 1024


class Way:
    """A model as it lies on the disk, and the precision in which it runs."""

    def __init__(self, arguments, name, model, precision):
        self.name, self.precision = name, precision
        self.bytes = sum(file.stat().st_size for file in ([model] if model.is_file() else model.iterdir()))
        inspected = subprocess.run([arguments.bertie, "inspect", model, "--precision", precision, "--json"], capture_output=True, text=True,
                                   check=True)
        self.weights = json.loads(inspected.stdout)["weight_bytes"]
        self.command = [arguments.bertie, "run", str(model), "--task", "fill-mask", "--text", TEXT, "--precision", precision, "--threads",
                        str(arguments.threads), "--json"]
        self.runs = []

    def figures(self):
        answered, ended, peaks = (sorted(column) for column in zip(*self.runs))
        return {"way": self.name, "precision": self.precision, "first_answer_s": answered, "end_s": ended, "peak_bytes": max(peaks),
                "weight_bytes": self.weights, "file_bytes": self.bytes}

    def row(self):
        answered, _, peaks = (sorted(column) for column in zip(*self.runs))
        return (f"| {self.name} | {self.precision} | {self.bytes / 1e6:.0f} | {1e3 * statistics.median(answered):.0f} | {1e3 * answered[0]:.0f} to "
                f"{1e3 * answered[-1]:.0f} | {max(peaks) / 1e6:.0f} | {self.weights / 1e6:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bertie", default=str(ROOT / "build" / "bertie"), help="the program (default build/bertie)")
    parser.add_argument("--model", default=str(ROOT / "models" / "minilm-l6-mlm"), help="a folder with a fill-mask head")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", help="write the figures here")
    arguments = parser.parse_args()

    folder = Path(arguments.model)
    with tempfile.TemporaryDirectory() as work:
        ways = [Way(arguments, "folder", folder, precision) for precision in ("fp32", "int8")]
        for precision in ("fp32", "int8"):
            built = Path(work) / f"{precision}.bertie"
            subprocess.run([arguments.bertie, "build", folder, "-o", built, "--precision", precision], check=True)
            ways.append(Way(arguments, "engine file", built, precision))
        for way in ways:
            run_once(way.command)  # brings the files into the page cache
        for _ in range(arguments.runs):
            for way in ways:
                way.runs.append(run_once(way.command))
    print("| from | precision | on disk, MB | first answer, ms | runs from, to | peak memory, MB | weights as they run, MB |")
    print("|---|---|---|---|---|---|---|")
    for way in ways:
        print(way.row())
    first = statistics.median(answered for answered, _, _ in ways[0].runs)
    peak = max(peak for _, _, peak in ways[0].runs)
    share = peak / ways[0].weights
    print(f"\nFirst answer from the folder in fp32: {first:.3f} s; target {SECONDS} s: {'met' if first <= SECONDS else 'MISSED'}. Peak resident memory "
          f"{share:.2f} times the weights as they run; target {MEMORY}: {'met' if share <= MEMORY else 'MISSED'}.")
    if arguments.json:
        figures = {"model": arguments.model, "ways": [way.figures() for way in ways]}
        Path(arguments.json).write_text(json.dumps(figures, indent=1) + "\n")
    return int(first > SECONDS or share > MEMORY)


if __name__ == "__main__":
    sys.exit(main())
