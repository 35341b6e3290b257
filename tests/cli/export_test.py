#!/usr/bin/env python3
"""`export`: files, demonstrations, refusals.

    export_test.py PATH_OF_BERTIE [unittest arguments]
"""

import os
import tempfile
import unittest
from pathlib import Path

from program import MASKED, Case, read_npy, run


class Exports(Case):
    def test_files_and_demo(self):
        with tempfile.TemporaryDirectory() as folder:
            path, demo = Path(folder) / "model.onnx", Path(folder) / "demo"
            self.assertEqual(run("export", MASKED, "-o", path, "--demo", demo, "--opset", "13"), (0, b"", ""))
            self.assertIn(b"input_ids", path.read_bytes())
            names = sorted(file.name for file in demo.iterdir())
            self.assertEqual(names, ["attention_mask.npy", "input_ids.npy", "last_hidden_state.npy", "logits.npy", "token_type_ids.npy"])
            (batch, sequence, _), floats = read_npy(demo / "logits.npy")
            self.assertEqual(batch, 2)
            self.assertTrue(any(floats) and floats[-1] == 0)  # the shorter sentence is padded
            self.assertEqual(sorted(os.listdir(folder)), ["demo", "model.onnx"])

    def test_refusals(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            self.fails(2, "export", MASKED, says="--output")
            self.fails(2, "export", MASKED, "-o", path, "--opset", "10", says="--opset")
            self.fails(1, "export", Path(folder) / "absent", "-o", path, says="absent")
            self.fails(1, "export", MASKED, "-o", Path(folder) / "no" / "model.onnx", says="model.onnx")
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    unittest.main()
