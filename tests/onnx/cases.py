"""What the tests of this folder share: writing cases for onnx_runner, running them, comparing."""

import pathlib
import subprocess
import tempfile

import numpy as np
import onnx


class Case:
    """A model with inputs, and what it must give."""

    def __init__(self, name, model, inputs, outputs, rtol=1e-3, atol=1e-7):
        self.name, self.model, self.inputs, self.outputs = name, model, inputs, outputs
        self.rtol, self.atol = rtol, atol
        self.status = None  # "passed", "refused" or "failed"
        self.message = ""
        self.compare = None  # of the folder with the outputs, where another comparison is wanted


def as_npy(array):
    """NumPy's own dtypes as they are; bfloat16 (exactly) as float32."""
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def compare(case, folder):
    for i, expected in enumerate(case.outputs):
        expected = np.asarray(expected)
        actual = np.load(folder / f"output_{i}.npy")
        if actual.shape != expected.shape:
            return f"output {i}: shape {actual.shape}, not {expected.shape}"
        floating = expected.dtype.kind == "f" or expected.dtype.name == "bfloat16"
        if not floating and actual.dtype != expected.dtype:
            return f"output {i}: {actual.dtype}, not {expected.dtype}"
        # bertie computes in float32 whatever the file's float type: the oracle's own rounding is the bound.
        slack = {"float16": 2e-3, "bfloat16": 2e-2}.get(expected.dtype.name, 0)
        close = np.isclose(
            actual.astype(np.float64), expected.astype(np.float64), max(case.rtol, slack), max(case.atol, slack), equal_nan=True
        )
        if not close.all():
            worst = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max()
            return f"output {i}: {np.count_nonzero(~close)} of {close.size} elements differ, by {worst} at most"
    return ""


def run_cases(runner, cases):
    """Sets each case's status and message."""
    with tempfile.TemporaryDirectory() as work:
        folders = []
        for number, case in enumerate(cases):
            folder = pathlib.Path(work) / str(number)
            folder.mkdir()
            model = case.model if isinstance(case.model, bytes) else case.model.SerializeToString()
            (folder / "model.onnx").write_bytes(model)
            for i, array in enumerate(case.inputs):
                np.save(folder / f"input_{i}.npy", as_npy(array))
            folders.append(folder)
        result = subprocess.run(
            [runner], input="".join(f"{folder}\n" for folder in folders), stdout=subprocess.PIPE, text=True, check=False
        )
        lines = result.stdout.splitlines()
        for case, folder, line in zip(cases, folders, lines + ["error: the runner stopped"] * (len(cases) - len(lines))):
            code, _, text = line.partition(": ")
            case.message = text.replace(f"{folder}/model.onnx: ", "")
            case.status = {"ok": "passed", "unsupported": "refused"}.get(code, "failed")
            if code == "ok":
                case.message = case.compare(folder) if case.compare else compare(case, folder)
                case.status = "failed" if case.message else "passed"
        if result.returncode != 0:
            raise SystemExit(f"{runner} ended with status {result.returncode}")
