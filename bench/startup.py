#!/usr/bin/env python3
"""From the command's start to its first answer, and the memory it takes: `bertie run --task fill-mask` on one text.

    bench/startup.py [--bertie PROGRAM] [--model FOLDER] [--runs 20] [--json FILE]

Targets: a median of 0.3 s; a peak resident set of 1.3 times the weights as they run and the workspace. The workspace of one
short text is small and is not counted here, so that the target is a little stricter than it says. Exit status 1: one is missed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bertie", default=str(ROOT / "build" / "bertie"), help="the program (default build/bertie)")
    parser.add_argument("--model", default=str(ROOT / "models" / "minilm-l6-mlm"), help="a folder with a fill-mask head")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", help="write the figures here")
    arguments = parser.parse_args()

    inspected = subprocess.run([arguments.bertie, "inspect", arguments.model, "--json"], capture_output=True, text=True, check=True)
    weights = json.loads(inspected.stdout)["weight_bytes"]
    command = [arguments.bertie, "run", arguments.model, "--task", "fill-mask", "--text", TEXT, "--threads",
               str(arguments.threads), "--json"]
    run_once(command)  # brings the files into the page cache
    runs = [run_once(command) for _ in range(arguments.runs)]
    answered, ended, peaks = (sorted(column) for column in zip(*runs))
    first, peak = statistics.median(answered), max(peaks)
    share = peak / weights
    print(f"first answer: median {first:.3f} s of {len(runs)} runs ({answered[0]:.3f} to {answered[-1]:.3f}), end of the command "
          f"{statistics.median(ended):.3f} s; target {SECONDS} s: {'met' if first <= SECONDS else 'MISSED'}")
    print(f"peak resident memory: {peak / 1e6:.1f} MB, {share:.2f} times the {weights / 1e6:.1f} MB of weights as they run; target "
          f"{MEMORY}: {'met' if share <= MEMORY else 'MISSED'}")
    if arguments.json:
        figures = {"model": arguments.model, "first_answer_s": answered, "end_s": ended, "peak_bytes": peak, "weight_bytes": weights}
        Path(arguments.json).write_text(json.dumps(figures, indent=1) + "\n")
    return int(first > SECONDS or share > MEMORY)


if __name__ == "__main__":
    sys.exit(main())
