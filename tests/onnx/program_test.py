"""The program runs files of real exporters (tests/data/onnx) on padded tensors: right padding, left padding, holes.

usage: program_test.py BERTIE

Compared with ONNX Runtime's goldens beside them at every place with attention_mask 1, and zero elsewhere for what is computed by token.
Files must run packed throughout; of quantised ones bertie computes in floats what lies between the layers (quantized_test.py looks closer).
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from safetensors.numpy import load_file

DATA = pathlib.Path("tests/data/onnx")
BOUND = 2e-5
QUANTIZED_BOUND = 0.1  # each is off from the float model by eight bits of 24 columns, and so are the two from one another


def run(program, path, tensors, names, work):
    arguments = [program, "run", path]
    for name in names:
        np.save(work / f"{name.replace('/', '_')}.npy", tensors[f"input.{name}"])
        arguments += ["--input", f"{name}={work / name.replace('/', '_')}.npy"]
    done = subprocess.run([*arguments, "--output-dir", work / "out"], capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip()
    described = subprocess.run([program, "inspect", path, "--json"], capture_output=True, text=True)
    if described.returncode:
        return described.stderr.strip()
    execution = json.loads(described.stdout)["execution"]
    if "mask_index" not in str(path) and not execution["planned"]:
        return f"runs step by step: {execution['reason']}"
    return ""


def compare(path, tensors, outputs, work):
    mask_name = next((n for n in tensors if n.startswith("input.") and "mask" in n), None)
    mask = tensors[mask_name] != 0 if mask_name else None
    for name in outputs:
        expected = tensors[f"output.{name}"].astype(np.float64)
        actual = np.load(work / "out" / f"{name.replace('/', '_')}.npy").astype(np.float64)
        if actual.shape != expected.shape:
            return f"{name}: shape {actual.shape}, not {expected.shape}"
        if mask is not None and expected.shape[:2] == mask.shape:
            if "mask_index" not in str(path) and np.any(actual[~mask]):
                return f"{name}: padded rows are not zero"
            actual, expected = actual[mask], expected[mask]
        error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
        if not error <= (QUANTIZED_BOUND if "quantized" in str(path) else BOUND):
            return f"{name}: relative error {error:.2g}"
    return ""


def main():
    program, failed, files = sys.argv[1], [], sorted(DATA.glob("*/*.onnx"))
    for path in files:
        tensors = load_file(path.with_name(path.stem + ".golden.safetensors"))
        graph = onnx.load(path).graph
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            problem = run(program, path, tensors, [i.name for i in graph.input], work)
            problem = problem or compare(path, tensors, [o.name for o in graph.output], work)
        if problem:
            failed.append(f"FAILED {path}: {problem}")
    print("\n".join(failed))
    print(f"{len(files)} files of real exporters, {len(files) - len(failed)} agree with ONNX Runtime")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
