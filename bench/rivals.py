#!/usr/bin/env python3
"""bertie beside ONNX Runtime and OpenVINO, on the same weights, threads and inputs; prints a Markdown table.

    bench/rivals.py [--bertie PROGRAM] [--models minilm base] [--threads 2] [--rounds 7] [--seconds 1] [--quick] [--json FILE]

All engines give the last hidden state, and give the same one before anything is timed. They take turns: in each round each
engine runs the case for --seconds after a warm-up, in a process of its own while the others sleep, and the order turns from
round to round. A time is the median of the rounds' medians; its spread, the rounds' range over that. A ratio is the better
rival's time over bertie's, the median over rounds, so that a slow minute of the machine, which hits all engines, cancels.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from models import MODELS, ROOT, model_folder, token_ids

NOISY = 0.15
AGREEMENT = 2e-5  # relative Frobenius difference of two engines, each within 1e-5 of the truth
FIXED = ((1, 16), (1, 128), (8, 128), (1, 384))


class Case:
    def __init__(self, name, sequences, rival_batch=0):
        """rival_batch: sequences a batch that rivals get, longest first; 0: all in one batch. bertie always gets all in one."""
        self.name, self.sequences = name, sequences
        if rival_batch:
            ordered = sorted(sequences, key=len, reverse=True)
            self.batches = [ordered[i:i + rival_batch] for i in range(0, len(ordered), rival_batch)]
        else:
            self.batches = [sequences]


class Bertie:
    label, precision, is_rival = "bertie", "fp32", False

    def __init__(self, program, folder, threads, work):
        self.program, self.folder, self.threads, self.work = program, folder, threads, work

    def call(self, *arguments):
        command = [str(a) for a in (self.program, *arguments, "--threads", self.threads, "--precision", self.precision)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def describe(self):
        return {"version": subprocess.run([self.program, "--version"], capture_output=True, text=True).stdout.split()[-1]}

    def states(self, case):
        """Attended rows of each batch of the case, end to end."""
        result = []
        for batch in case.batches:
            ids, mask = np.zeros((2, len(batch), max(map(len, batch))), np.int64)
            for row, sequence in enumerate(batch):
                ids[row, :len(sequence)], mask[row, :len(sequence)] = sequence, 1
            np.save(self.work / "ids.npy", ids)
            np.save(self.work / "mask.npy", mask)
            self.call("run", self.folder, "--input", f"input_ids={self.work}/ids.npy", "--input",
                      f"attention_mask={self.work}/mask.npy", "--output-dir", self.work)
            result.append(np.load(self.work / "last_hidden_state.npy")[mask != 0])
        return np.concatenate(result)

    def milliseconds(self, case, seconds):
        lengths = self.work / "lengths.txt"
        lengths.write_text("".join(f"{len(sequence)}\n" for sequence in case.sequences))
        line = self.call("bench", self.folder, "--lengths", lengths, "--outputs", "last_hidden_state", "--seconds", seconds, "--json")
        return json.loads(line)["p50_ms"]

    def close(self):
        pass


class Rival:
    precision, is_rival = "fp32", True

    def __init__(self, engine, label, folder, threads, work):
        self.label, self.work = label, work
        self.process = subprocess.Popen([sys.executable, Path(__file__).parent / "rival_engines.py", engine, folder, str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.label} stopped with exit status {self.process.wait()}")
        return json.loads(line)

    def states(self, case):
        path = self.work / "states.npz"
        self.description = self.ask(batches=case.batches, save=str(path))
        arrays = np.load(path)
        return np.concatenate([arrays[f"arr_{i}"][row, :len(sequence)] for i, batch in enumerate(case.batches)
                               for row, sequence in enumerate(batch)])

    def describe(self):
        return self.description

    def milliseconds(self, case, seconds):
        return statistics.median(self.ask(batches=case.batches, seconds=seconds)["ms"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def engines_for(program, folder, threads, work):
    """The columns of the table: further precisions are further entries here."""
    return [Bertie(program, folder, threads, work), Rival("onnxruntime", "ONNX Runtime", folder, threads, work),
            Rival("openvino", "OpenVINO", folder, threads, work)]


def cases_for(lines, quick):
    random = np.random.default_rng(3)
    fixed = FIXED[:3] if quick else FIXED
    cases = [Case(f"{batch} x {length}", random.integers(1000, 30000, (batch, length)).tolist()) for batch, length in fixed]
    return cases + [Case(f"{len(lines)} lines, rivals pad them", lines),
                    Case(f"{len(lines)} lines, rivals get them sorted in 8s", lines, rival_batch=8)]


def check_agreement(engines, case):
    """The engines' largest relative difference from bertie."""
    states = [engine.states(case).astype(np.float64) for engine in engines]
    errors = [np.linalg.norm(other - states[0]) / np.linalg.norm(states[0]) for other in states[1:]]
    if not max(errors) <= AGREEMENT:
        sys.exit(f"{case.name}: the engines differ: " + ", ".join(f"{e.label} {x:.1e}" for e, x in zip(engines[1:], errors)))
    return max(errors)


def time_case(engines, case, rounds, seconds):
    times = {engine.label: [] for engine in engines}
    for turn in range(rounds):
        at = turn % len(engines)
        for engine in engines[at:] + engines[:at]:
            times[engine.label].append(engine.milliseconds(case, seconds))
    median = {label: statistics.median(values) for label, values in times.items()}
    own = engines[0].label
    best = min((engine.label for engine in engines if engine.is_rival), key=median.get)
    ratios = [rival / bertie for rival, bertie in zip(times[best], times[own])]
    return {"case": case.name, "sequences": len(case.sequences), "tokens": sum(map(len, case.sequences)),
            "padded_tokens": sum(len(b) * max(map(len, b)) for b in case.batches), "rounds": times, "ms": median,
            "spread": {label: (max(values) - min(values)) / median[label] for label, values in times.items()},
            "better_rival": best, "ratio": statistics.median(ratios), "ratio_range": [min(ratios), max(ratios)]}


def machine(program, threads):
    cpu = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].replace("\t", "").splitlines())
    flags = cpu.get("flags", "").split()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile")
    device = next(json.loads(line) for line in subprocess.run([program, "devices", "--json"], capture_output=True, text=True,
                                                              check=True).stdout.splitlines())
    return {"cpu": cpu.get("model name", platform.machine()).strip(), "cores": len(os.sched_getaffinity(0)), "threads": threads,
            "isa": [flag for flag in wanted if flag in flags], "peak_gflops": round(device["peak_gflops"]),
            "bandwidth_gbs": round(device["bandwidth_gbs"], 1), "system": platform.system(), "python": platform.python_version(),
            "date": datetime.date.today().isoformat(), "load": os.getloadavg()[0]}


def figure(value):
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def print_table(title, engines, rows):
    labels = [engine.label for engine in engines]
    print(f"\n### {title}\n")
    print("| batch x length | " + " | ".join(f"{label}, ms" for label in labels) + " | better rival / bertie |")
    print("|---|" + "---|" * (len(labels) + 1))
    for row in rows:
        cells = [f"{figure(row['ms'][label])} ({row['spread'][label]:.0%})" for label in labels]
        low, high = row["ratio_range"]
        print(f"| {row['case']} | " + " | ".join(cells) + f" | {row['ratio']:.2f}x ({low:.2f} to {high:.2f}) |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bertie", default=str(ROOT / "build" / "bertie"), help="the program (default build/bertie)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["minilm", "base"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring an engine in a round (default 1)")
    parser.add_argument("--quick", action="store_true", help="about two minutes: 3 rounds of 0.2 s, no 1 x 384")
    parser.add_argument("--data", default=str(ROOT / "tests" / "data" / "evaluation.txt"))
    parser.add_argument("--lines", type=int, default=64, help="lines of --data in the cases of real lengths")
    parser.add_argument("--work", default=str(ROOT / "build" / "bench"), help="where models are put")
    parser.add_argument("--json", help="write all figures here")
    arguments = parser.parse_args()
    rounds, seconds = (3, 0.2) if arguments.quick else (arguments.rounds, arguments.seconds)
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)

    report = {"machine": machine(arguments.bertie, arguments.threads), "models": {}}
    m = report["machine"]
    print(f"{m['cpu']} ({', '.join(m['isa'])}), {m['cores']} cores, {m['threads']} threads, fp32; measured peak "
          f"{m['peak_gflops']} GFLOP/s, {m['bandwidth_gbs']} GB/s; load {m['load']:.1f} at the start; {m['date']}")
    for name in arguments.models:
        folder = model_folder(name, work)
        lines = token_ids(arguments.bertie, folder, arguments.data, arguments.lines)
        with tempfile.TemporaryDirectory() as scratch:
            engines, rows, errors = engines_for(arguments.bertie, folder, arguments.threads, Path(scratch)), [], []
            cases = cases_for(lines, arguments.quick)
            for case in cases:
                errors.append(check_agreement(engines, case))
            versions = {engine.label: engine.describe() for engine in engines}
            if not report["models"]:
                print(", ".join(f"{label} {about['version']}" for label, about in versions.items()))
            for case in cases:
                rows.append(time_case(engines, case, rounds, seconds))
                print(f"{name} {case.name}: {rows[-1]['ratio']:.2f}x", file=sys.stderr)
            for engine in engines:
                engine.close()
        report["models"][name] = {"engines": versions, "largest_difference": max(errors), "cases": rows}
        print_table(f"{MODELS[name][0]} (outputs agree within {max(errors):.0e})", engines, rows)

    all_rows = [row for model in report["models"].values() for row in model["cases"]]
    spreads = [(max(row["spread"].values()), row["case"]) for row in all_rows]
    noisy = [spread for spread, _ in spreads if spread > NOISY]
    print(f"\nIn brackets: the spread over {rounds} rounds, (slowest - fastest) / median. {len(noisy)} of {len(spreads)} cases spread "
          f"over more than {NOISY:.0%}" + (f", up to {max(noisy):.0%}: this machine is noisy now; measure again when it is quiet."
                                           if noisy else "."))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
