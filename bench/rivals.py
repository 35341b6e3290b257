#!/usr/bin/env python3
"""bertie beside ONNX Runtime, OpenVINO and, where it is installed, PyTorch, on the same weights, threads and inputs; prints Markdown tables.

    bench/rivals.py [--bertie PROGRAM] [--models minilm base] [--precisions fp32,bf16,int8] [--cases CASE ...] [--threads 2]
                    [--rounds 7] [--seconds 1] [--box 120] [--quick] [--json FILE]

All engines give the last hidden state, which is compared before anything is timed: in fp32 they agree; in int8 and bf16 each one's mean
cosine with bertie's fp32, over all tokens of a case, is printed beside the bound of its engine. Who is below it is marked, and
is not the better rival, unless bertie or every rival is below too: the bounds are for trained weights, and only those of minilm
are. Engines take turns: in each round each runs the case for --seconds after a warm-up, in a
process of its own while the others sleep, and the order turns from round to round. A case that has taken --box seconds gets
no further round. A time is the median of the rounds' medians; its spread, the rounds' range over that. A ratio is the better
rival's time over bertie's, the median over rounds, so that a slow minute of the machine, which hits all engines, cancels.

A CASE is BATCHxLENGTH (8x128), or the first lines of --data: lines:N (rivals pad all N to the longest), lines:N:B (rivals get
them in the file's order in batches of B), lines:N:B:sorted (sorted by length first). bertie always gets all in one batch.
"""
import argparse
import datetime
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from models import MODELS, ROOT, model_folder, token_ids

NOISY = 0.15
AGREEMENT = 2e-5  # relative Frobenius difference of two engines, each within 1e-5 of the truth
CASES = ("1x16", "1x128", "8x128", "1x384", "lines:64", "lines:64:8:sorted", "lines:256:32", "lines:256:8:sorted")
QUICK_CASES = ("1x16", "1x128", "8x128", "lines:64", "lines:64:8:sorted")
CALIBRATION_TEXTS = 16
BROKEN = 0.9  # a mean cosine of bertie's int8 or bf16 with fp32 that no rounding explains, on any weights
FEWEST_RUNS, OVERHEAD = 5, 0.5  # of a measurement: runs, and seconds of warming up and of starting bertie


class Case:
    def __init__(self, name, data):
        """data: ids of each line of the texts."""
        self.rival_batch, self.sorted = 0, False
        if fixed := re.fullmatch(r"(\d+)x(\d+)", name):
            batch, length = map(int, fixed.groups())
            self.title = f"{batch} x {length}"
            self.sequences = np.random.default_rng([3, batch, length]).integers(1000, 30000, (batch, length)).tolist()
        elif lines := re.fullmatch(r"lines:(\d+)(?::(\d+)(:sorted)?)?", name):
            count, self.rival_batch, self.sorted = int(lines[1]), int(lines[2] or 0), bool(lines[3])
            if not 0 < count <= len(data):
                sys.exit(f"--cases {name}: --data has {len(data)} lines")
            self.sequences = data[:count]
            order = "sorted" if self.sorted else "in file order"
            self.title = f"{count} lines: rivals " + (f"{order} in batches of {self.rival_batch}" if self.rival_batch else
                                                      "pad them to one batch")
        else:
            sys.exit(f"--cases {name}: neither BATCHxLENGTH nor lines:N, lines:N:B or lines:N:B:sorted")
        ordered = sorted(self.sequences, key=len, reverse=True) if self.sorted else self.sequences
        size = self.rival_batch or len(ordered)
        self.batches = [ordered[i:i + size] for i in range(0, len(ordered), size)]
        self.tokens = sum(map(len, self.sequences))
        self.padded_tokens = sum(len(batch) * max(map(len, batch)) for batch in self.batches)


class Bertie:
    is_rival = False

    def __init__(self, label, precision, bound, texts, program, folder, threads, work):
        """texts: to find fixed scales on; None: scales are found as it runs."""
        self.label, self.precision, self.bound = label, precision, bound
        self.program, self.folder, self.threads, self.work = program, folder, threads, work
        self.options = ["--precision", precision]
        if texts:
            cache = work / "cache.json"
            self.call("calibrate", folder, "--data", texts, "-o", cache, options=[])
            self.options += ["--calibration", cache]

    def call(self, *arguments, options=None):
        options = self.options if options is None else options
        command = [str(a) for a in (self.program, *arguments, "--threads", self.threads, *options)]
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

    def milliseconds(self, case, seconds, _limit):
        lengths = self.work / "lengths.txt"
        lengths.write_text("".join(f"{len(sequence)}\n" for sequence in case.sequences))
        line = self.call("bench", self.folder, "--lengths", lengths, "--outputs", "last_hidden_state", "--seconds", seconds, "--json")
        return json.loads(line)["p50_ms"]

    def close(self):
        pass


class Rival:
    is_rival = True

    def __init__(self, label, engine, precision, bound, calibration, folder, threads, work):
        self.label, self.bound, self.work = label, bound, work
        self.process = subprocess.Popen([sys.executable, Path(__file__).parent / "rival_engines.py", engine, folder, str(threads),
                                         "--precision", precision, "--calibration", calibration],
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

    def milliseconds(self, case, seconds, limit):
        return statistics.median(self.ask(batches=case.batches, seconds=seconds, limit=limit)["ms"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def has(package):
    return importlib.util.find_spec(package) is not None


def engine_makers(precision):
    """The columns of a precision's table, the first being bertie's own: each a function of (program, texts, ids, folder, threads, work), the
    texts and their ids being what fixed scales are found on. The bounds are of the mean cosine with fp32; ONNX Runtime's dynamic
    quantisation has one scale for all rows of an activation, bertie's one a row."""
    def own(label, precision, bound=None, fixed=False):
        return lambda program, texts, _ids, *rest: Bertie(label, precision, bound, texts if fixed else None, program, *rest)

    def rival(label, engine, precision="fp32", bound=None):
        return lambda _program, _texts, ids, *rest: Rival(label, engine, precision, bound, ids, *rest)

    if precision == "fp32":
        return [own("bertie", "fp32"), rival("ONNX Runtime", "onnxruntime"),
                rival("OpenVINO", "openvino")] + [rival("PyTorch", "pytorch")] * has("torch")
    if precision == "bf16":
        return [own("bertie bf16", "bf16", 0.999), own("bertie fp32", "fp32"), rival("OpenVINO bf16", "openvino", "bf16", 0.999)]
    makers = [own("bertie int8", "int8", 0.99), own("bertie int8 static", "int8", 0.95, fixed=True), own("bertie fp32", "fp32"),
              rival("ONNX Runtime int8 dynamic", "onnxruntime", "int8-dynamic", 0.98),
              rival("ONNX Runtime int8 static", "onnxruntime", "int8-static", 0.95)]
    return makers + [rival("OpenVINO int8 (NNCF)", "openvino", "int8-static", 0.95)] * has("nncf")


def check_agreement(engines, case, precision):
    """fp32: the largest relative difference of a rival from bertie, where one above AGREEMENT ends the run. Else: the mean cosine
    of each engine's rows with bertie's fp32, and who is below its bound; bertie below BROKEN ends the run."""
    states = {engine.label: engine.states(case).astype(np.float64) for engine in engines}
    if precision == "fp32":
        own = states.pop(engines[0].label)
        errors = {label: np.linalg.norm(other - own) / np.linalg.norm(own) for label, other in states.items()}
        if not max(errors.values()) <= AGREEMENT:
            sys.exit(f"{case.title}: the engines differ: " + ", ".join(f"{label} {x:.1e}" for label, x in errors.items()))
        return {"largest_difference": max(errors.values())}
    exact = states["bertie fp32"]
    cosines = {label: float(np.mean(np.sum(rows * exact, -1) / (np.linalg.norm(rows, axis=-1) * np.linalg.norm(exact, axis=-1))))
               for label, rows in states.items()}
    own = engines[0].label
    if not cosines[own] >= BROKEN:
        sys.exit(f"{case.title}: {own} has a mean cosine of {cosines[own]:.4f} with fp32, less than {BROKEN}")
    return {"cosine": cosines, "below_bound": [e.label for e in engines if e.bound and not cosines[e.label] >= e.bound]}


def time_case(engines, case, agreement, rounds, seconds, box):
    times = {engine.label: [] for engine in engines}
    limit, start = box / (rounds * len(engines)), time.perf_counter()
    for turn in range(rounds):
        if turn and time.perf_counter() - start > box:
            break
        at = turn % len(engines)
        for engine in engines[at:] + engines[:at]:
            times[engine.label].append(engine.milliseconds(case, seconds, limit))
    median = {label: statistics.median(values) for label, values in times.items()}
    own = times[engines[0].label]
    ratios = {label: [other / bertie for other, bertie in zip(values, own)] for label, values in times.items()}
    rivals = [engine.label for engine in engines if engine.is_rival]
    below = agreement.get("below_bound", ())
    accurate = [label for label in rivals if label not in below and engines[0].label not in below]
    best = min(accurate or rivals, key=median.get)
    return {"case": case.title, "sequences": len(case.sequences), "tokens": case.tokens, "padded_tokens": case.padded_tokens,
            "rounds": times, "ms": median, "better_rival": best,
            "spread": {label: (max(values) - min(values)) / median[label] for label, values in times.items()},
            "ratio": {label: statistics.median(values) for label, values in ratios.items()},
            "ratio_range": {label: [min(values), max(values)] for label, values in ratios.items()}} | agreement


def expected_seconds(report, folders, cases, precisions, rounds, seconds, box):
    """Of all timing: each run at half the measured fp32 peak, whatever its precision."""
    total = 0
    for folder in folders:
        config = json.loads((folder / "config.json").read_text())
        hidden = config["hidden_size"]
        flops = 2 * config["num_hidden_layers"] * hidden * (4 * hidden + 2 * config["intermediate_size"])
        for case in cases:
            for precision in precisions:
                engines = len(engine_makers(precision))
                limit = box / (rounds * engines)
                run = case.padded_tokens * flops / (report["machine"]["peak_gflops"] * 0.5e9)
                total += rounds * engines * (OVERHEAD + max(run, min(limit, max(seconds, FEWEST_RUNS * run))))
    return total


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
    own = labels[0]
    print(f"\n### {title}\n")
    print("| batch x length | " + " | ".join(f"{label}, ms" for label in labels) + f" | better rival / {own} |")
    print("|---|" + "---|" * (len(labels) + 1))
    for row in rows:
        cells = [f"{figure(row['ms'][label])} ({row['spread'][label]:.0%})" + "*" * (label in row.get("below_bound", ()))
                 for label in labels]
        (low, high), ratio = row["ratio_range"][row["better_rival"]], row["ratio"][row["better_rival"]]
        print(f"| {row['case']} | " + " | ".join(cells) + f" | {ratio:.2f}x ({low:.2f} to {high:.2f}) |")
    fixed = "bertie int8 static"
    for row in rows if fixed in labels else ():
        ratios = {label: statistics.median(a / b for a, b in zip(row["rounds"][label], row["rounds"][fixed])) for label in labels if label != fixed}
        print(f"\n{row['case']}, over {fixed}: " + ", ".join(f"{label} {ratio:.2f}x" for label, ratio in ratios.items()) + ".")
    if "cosine" in rows[0]:
        print("\nLowest mean cosine of a case with fp32, and the engine's bound (*: below it in that case): "
              + ", ".join(f"{e.label} {min(row['cosine'][e.label] for row in rows):.4f} ({e.bound})" for e in engines if e.bound) + ".")


def run_model(name, folder, cases, precision, arguments, rounds, seconds):
    """The rows of a model's table of one precision, printed too."""
    with tempfile.TemporaryDirectory() as scratch:
        texts, ids = Path(scratch) / "calibration.txt", Path(scratch) / "calibration.json"
        texts.write_text("".join(line + "\n" for line in Path(arguments.calibration).read_text().split("\n")[:CALIBRATION_TEXTS]))
        ids.write_text(json.dumps(token_ids(arguments.bertie, folder, arguments.calibration, CALIBRATION_TEXTS)))
        engines = [make(arguments.bertie, texts, str(ids), folder, arguments.threads, Path(scratch))
                   for make in engine_makers(precision)]
        agreements = [check_agreement(engines, case, precision) for case in cases]
        rows = []
        for case, agreement in zip(cases, agreements):
            rows.append(time_case(engines, case, agreement, rounds, seconds, arguments.box))
            print(f"{name} {precision} {case.title}: {rows[-1]['ratio'][rows[-1]['better_rival']]:.2f}x", file=sys.stderr)
        for engine in engines:
            engine.close()
    title = f"{MODELS[name][0]}, {precision}"
    if precision == "fp32":
        title += f" (outputs agree within {max(row['largest_difference'] for row in rows):.0e})"
    print_table(title, engines, rows)
    return {"engines": {engine.label: engine.describe() for engine in engines}, "cases": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bertie", default=str(ROOT / "build" / "bertie"), help="the program (default build/bertie)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["minilm", "base"])
    parser.add_argument("--precisions", default="fp32", help="of fp32, bf16 and int8, with commas (default fp32)")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help=f"default {' '.join(CASES)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring an engine in a round (default 1)")
    parser.add_argument("--box", type=float, default=120.0, help="seconds after which a case gets no further round (default 120)")
    parser.add_argument("--quick", action="store_true", help=f"3 rounds of 0.2 s; without --cases {' '.join(QUICK_CASES)}")
    parser.add_argument("--data", default=str(ROOT / "tests" / "data" / "evaluation.txt"))
    parser.add_argument("--calibration", default=str(ROOT / "tests" / "data" / "calibration.txt"),
                        help=f"texts for int8 static, of which the first {CALIBRATION_TEXTS} are used")
    parser.add_argument("--work", default=str(ROOT / "build" / "bench"), help="where models are put")
    parser.add_argument("--json", help="write all figures here")
    arguments = parser.parse_args()
    precisions = arguments.precisions.split(",")
    if unknown := set(precisions) - {"fp32", "bf16", "int8"}:
        parser.error(f"--precisions {', '.join(sorted(unknown))}: none of fp32, bf16, int8")
    rounds, seconds = (3, 0.2) if arguments.quick else (arguments.rounds, arguments.seconds)
    sys.stdout.reconfigure(line_buffering=True)
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)

    report = {"machine": machine(arguments.bertie, arguments.threads), "models": {}}
    m = report["machine"]
    folders = [model_folder(name, work) for name in arguments.models]
    longest = max([int(found[1]) for name in arguments.cases or CASES if (found := re.match(r"lines:(\d+)", name))], default=0)
    data = token_ids(arguments.bertie, folders[0], arguments.data, longest) if longest else []  # all models have one vocabulary
    cases = [Case(name, data) for name in arguments.cases or (QUICK_CASES if arguments.quick else CASES)]
    total = expected_seconds(report, folders, cases, precisions, rounds, seconds, arguments.box)
    print(f"Expected: about {total / 60:.0f} minutes of timing for {len(cases)} cases, {len(folders)} models and {len(precisions)} "
          "precisions, and up to a minute more a model to prepare the engines.", file=sys.stderr)
    print(f"{m['cpu']} ({', '.join(m['isa'])}), {m['cores']} cores, {m['threads']} threads, {' and '.join(precisions)}; measured "
          f"peak {m['peak_gflops']} GFLOP/s, {m['bandwidth_gbs']} GB/s; load {m['load']:.1f} at the start; {m['date']}")
    if "int8" in precisions and not has("nncf"):
        print("\nNo OpenVINO in int8: the Python package nncf is not installed.")
    for name, folder in zip(arguments.models, folders):
        report["models"][name] = {}
        for precision in precisions:
            about = report["models"][name][precision] = run_model(name, folder, cases, precision, arguments, rounds, seconds)
            if name == arguments.models[0]:
                print("\n" + ", ".join(f"{label} {engine['version']}" for label, engine in about["engines"].items()))

    all_rows = [row for model in report["models"].values() for table in model.values() for row in table["cases"]]
    spreads = [max(row["spread"].values()) for row in all_rows]
    noisy = [spread for spread in spreads if spread > NOISY]
    print(f"\nIn brackets: the spread over up to {rounds} rounds, (slowest - fastest) / median. {len(noisy)} of {len(spreads)} cases "
          f"spread over more than {NOISY:.0%}" + (f", up to {max(noisy):.0%}: this machine is noisy now; measure again when it is quiet."
                                                  if noisy else "."))
    boxed = [row["case"] for row in all_rows if min(map(len, row["rounds"].values())) < rounds]
    if boxed:
        print(f"Fewer than {rounds} rounds, since {arguments.box:.0f} s had passed: {'; '.join(sorted(set(boxed)))}.")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
