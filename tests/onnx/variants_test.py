"""Files of real exporters (tests/data/onnx) run op by op on the reference kernels against ONNX Runtime's goldens beside them.

usage: variants_test.py ONNX_RUNNER
"""

import pathlib
import sys

import numpy as np
import onnx
from safetensors.numpy import load_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cases import Case, run_cases

DATA = pathlib.Path("tests/data/onnx")
# Relative Frobenius error. Dynamically quantised graphs take ranges by token here and over the whole batch in ONNX Runtime: each is off
# from the float model by the step of eight bits, and so are the two from one another.
BOUND = 1e-5
DYNAMIC_BOUND = 0.08


def main():
    cases, goldens = [], []
    for path in sorted(DATA.glob("*/*.onnx")):
        tensors = load_file(path.with_name(path.stem + ".golden.safetensors"))
        model = onnx.load(path)
        names = [i.name for i in model.graph.input]
        outputs = [o.name for o in model.graph.output]
        case = Case(f"{path.parent.name}/{path.stem}", path.read_bytes(), [tensors[f"input.{n}"] for n in names], [])
        case.compare = lambda folder, case=case, tensors=tensors, outputs=outputs: check(case, folder, tensors, outputs)
        cases.append(case)
    run_cases(sys.argv[1], cases)
    failed = [case for case in cases if case.status != "passed"]
    print(f"{len(cases)} files of real exporters, {len(cases) - len(failed)} agree with ONNX Runtime")
    for case in failed:
        print("FAILED", case.name, case.status, case.message)
    return 1 if failed or not cases else 0


def check(case, folder, tensors, outputs):
    mask_name = next((n for n in tensors if n.startswith("input.") and "mask" in n), None)
    mask = tensors[mask_name] != 0 if mask_name else None
    for i, name in enumerate(outputs):
        expected = tensors[f"output.{name}"].astype(np.float64)
        actual = np.load(folder / f"output_{i}.npy").astype(np.float64)
        if actual.shape != expected.shape:
            return f"{name}: shape {actual.shape}, not {expected.shape}"
        if mask is not None and expected.shape[:2] == mask.shape:
            actual, expected = actual[mask], expected[mask]
        error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
        if not error <= (DYNAMIC_BOUND if "quantized_dynamic" in case.name else BOUND):
            return f"{name}: relative error {error:.2g}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
