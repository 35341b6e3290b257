#!/usr/bin/env python3
"""How bertie's speed grows with threads, in both modes; prints Markdown tables.

    bench/scaling.py [--bertie PROGRAM] [--random minilm | --model MODEL] [--cases 1x16 8x128] [--precisions fp32,int8]
                     [--threads-list 1,2,4] [--rounds 3] [--seconds 0.5] [--pin] [--json FILE]

Latency: the median time of one batch, all threads on it. Throughput: sequences a second of as many sessions at once as threads.
In each round every number of threads is measured once in each mode, one behind the other, and the order turns from round to round. A figure is
the median of the rounds; "x" is the median over rounds of what it is of the round's own figure for the fewest threads, so
that a slow minute of the machine cancels.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODES = ("latency", "throughput")


def usable_threads():
    """1, 2, 4, ... and all."""
    count = len(os.sched_getaffinity(0))
    return sorted({count} | {1 << i for i in range(count.bit_length()) if 1 << i <= count})


def measure(arguments, case, precision, threads, mode):
    """The row that `bertie bench` gives."""
    batch, length = case.split("x")
    command = [arguments.bertie, "bench", *(["--random", arguments.random] if not arguments.model else [arguments.model]),
               "--batch", batch, "--sequence", length, "--precision", precision, "--threads", str(threads), "--mode", mode,
               "--seconds", str(arguments.seconds), "--outputs", "last_hidden_state", "--json"] + ["--pin"] * arguments.pin
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def speed(row):
    """What grows with speed: sequences a second of a mode's own kind."""
    return row["sequences_per_s"]


def table(arguments, precision, rows):
    """rows: by case, threads and mode, one a round."""
    yield "| batch x length | threads | latency, ms | | throughput, sequences/s | | throughput / latency mode |"
    yield "|---|---|---|---|---|---|---|"
    fewest = arguments.threads_list[0]
    for case in arguments.cases:
        for threads in arguments.threads_list:
            rounds = {mode: rows[case, precision, threads, mode] for mode in MODES}
            growth = {mode: statistics.median(speed(own) / speed(first) for own, first in
                                              zip(rounds[mode], rows[case, precision, fewest, mode])) for mode in MODES}
            gain = statistics.median(speed(t) / speed(l) for t, l in zip(rounds["throughput"], rounds["latency"]))
            milliseconds = statistics.median(row["p50_ms"] for row in rounds["latency"])
            sequences = statistics.median(speed(row) for row in rounds["throughput"])
            yield (f"| {case.replace('x', ' x ')} | {threads} | {milliseconds:.3g} | {growth['latency']:.2f}x | {sequences:.4g} | "
                   f"{growth['throughput']:.2f}x | {gain:.2f}x |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bertie", default=str(ROOT / "build" / "bertie"), help="the program (default build/bertie)")
    parser.add_argument("--random", default="minilm", help="a shape as `bertie bench --random` takes it (default minilm)")
    parser.add_argument("--model", help="a folder or file, in place of --random")
    parser.add_argument("--cases", nargs="+", default=["1x16", "1x128", "8x128"], help="BATCHxLENGTH")
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=["fp32", "int8"])
    parser.add_argument("--threads-list", type=lambda text: [int(count) for count in text.split(",")], default=usable_threads(),
                        help="numbers of threads, the first is what the others are compared with (default 1, 2, 4, ... and all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of measuring, each")
    parser.add_argument("--pin", action="store_true", help="pin the threads")
    parser.add_argument("--json", help="write every row here")
    arguments = parser.parse_args()

    device = subprocess.run([arguments.bertie, "devices", "--json"], capture_output=True, text=True, check=True)
    cpu = json.loads(device.stdout.splitlines()[0])
    print(f"{cpu['description']} ({cpu['instruction_sets'][0]}), {cpu['cores']} cores, {cpu['threads']} threads, "
          f"packages: {cpu['packages']}, NUMA nodes: {cpu['numa_nodes']}; {arguments.model or arguments.random}, {arguments.rounds} rounds of {arguments.seconds} s"
          f"{', pinned' if arguments.pin else ''}; load {os.getloadavg()[0]:.1f} at the start.")
    rows = {}
    for case in arguments.cases:
        for precision in arguments.precisions:
            for turn in range(arguments.rounds):
                order = [(threads, mode) for threads in arguments.threads_list for mode in MODES]
                for threads, mode in order[turn % len(order):] + order[:turn % len(order)]:
                    rows.setdefault((case, precision, threads, mode), []).append(measure(arguments, case, precision, threads, mode))
    for precision in arguments.precisions:
        print(f"\n{precision}\n")
        print("\n".join(table(arguments, precision, rows)))
    if arguments.json:
        listed = [row | {"round": turn} for own in rows.values() for turn, row in enumerate(own)]
        Path(arguments.json).write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    main()
