#!/usr/bin/env python3
"""`run` on tensors by name, from files and to files.

    tensors_test.py PATH_OF_BERTIE [unittest arguments]
"""

import tempfile
import unittest
from pathlib import Path

from program import ANSWER, CLASSIFY, EMBED, MASKED, POSITIONS, Case, read_npy, rows, run, write_npy


class Tensors(Case):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def inputs(self, **named):
        flags = []
        for name, (values, shape, code) in named.items():
            write_npy(self.path / f"{name}.npy", values, shape, code)
            flags += ["--input", f"{name}={self.path / name}.npy"]
        return flags + ["--output-dir", self.path / "out"]

    def outputs(self, model, **named):
        code, output, error = run("run", model, *self.inputs(**named))
        self.assertEqual((code, output, error), (0, b"", ""))
        return {file.stem: read_npy(file) for file in (self.path / "out").iterdir()}

    def test_padding_comes_back_as_zeros(self):
        ids = [2, 10, 11, 12, 3, 2, 20, 3, 0, 0]
        mask = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
        out = self.outputs(CLASSIFY, input_ids=(ids, (2, 5), "q"), attention_mask=(mask, (2, 5), "q"))
        self.assertEqual(set(out), {"last_hidden_state", "pooler_output", "logits"})
        shape, hidden = out["last_hidden_state"]
        self.assertEqual(shape, (2, 5, 32))
        self.assertEqual(list(hidden[8 * 32:]), [0.0] * 64)
        self.assertTrue(all(value != 0 for value in hidden[:8 * 32]))
        self.assertEqual(out["logits"][0], (2, 3))
        # The second row alone, without padding, as int32, is the same bit for bit.
        alone = self.outputs(CLASSIFY, input_ids=([2, 20, 3], (1, 3), "i"))
        self.assertEqual(alone["logits"][1], out["logits"][1][3:])
        self.assertEqual(alone["last_hidden_state"][1], hidden[5 * 32:8 * 32])

    def test_holes(self):
        # Attended tokens keep their own positions; what stands in the holes does not matter.
        ids, mask = [2, 10, 99, 12, 99, 3], [1, 1, 0, 1, 0, 1]
        holes = self.outputs(EMBED, input_ids=(ids, (1, 6), "q"), attention_mask=(mask, (1, 6), "?"))
        packed = self.outputs(EMBED, input_ids=([2, 10, 12, 3], (1, 4), "q"), position_ids=([0, 1, 3, 5], (1, 4), "q"))
        shape, values = holes["last_hidden_state"]
        self.assertEqual(shape, (1, 6, 32))
        kept = [values[i * 32 + j] for i in range(6) if mask[i] for j in range(32)]
        self.assertEqual(kept, list(packed["last_hidden_state"][1]))
        self.assertEqual(list(values[64:96]), [0.0] * 32)

    def test_left_padding_keeps_column_0_alive(self):
        # The pooler reads column 0 though it is masked out; nothing else does, and nothing reads column 1.
        mask = ([0, 0, 1, 1, 1], (1, 5), "q")
        out = [self.outputs(CLASSIFY, input_ids=([*first, 2, 10, 3], (1, 5), "q"), attention_mask=mask)
               for first in ([0, 0], [7, 0], [0, 7])]
        hidden = [list(each["last_hidden_state"][1]) for each in out]
        self.assertEqual(hidden[0][:64], [0.0] * 64)
        self.assertEqual(hidden[1], hidden[0])
        self.assertEqual(hidden[2], hidden[0])
        pooled = [list(each["pooler_output"][1]) for each in out]
        self.assertNotEqual(pooled[1], pooled[0])
        self.assertEqual(pooled[2], pooled[0])

    def test_a_mask_of_floats(self):
        ids = ([2, 10, 11, 3, 0, 0], (1, 6), "q")
        integers = self.outputs(CLASSIFY, input_ids=ids, attention_mask=([1, 1, 1, 1, 0, 0], (1, 6), "q"))
        floats = self.outputs(CLASSIFY, input_ids=ids, attention_mask=([1, 1, 1, 1, 0, 0], (1, 6), "f"))
        self.assertEqual(floats, integers)

    def test_a_network_that_runs_padded_gives_the_same(self):
        named = dict(input_ids=([2, 10, 11, 12, 3, 2, 20, 3, 0, 0], (2, 5), "q"),
                     attention_mask=([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], (2, 5), "q"))
        packed = self.outputs(CLASSIFY, **named)
        code, _, error = run("run", CLASSIFY, *self.inputs(**named), "--disable-pass", "remove_padding")
        self.assertEqual((code, error), (0, ""))
        for file in (self.path / "out").iterdir():
            shape, values = read_npy(file)
            self.assertEqual(shape, packed[file.stem][0])
            for ours, theirs in zip(values, packed[file.stem][1]):
                self.assertAlmostEqual(ours, theirs, delta=1e-5)
        code, output, error = run("inspect", CLASSIFY, "--json", "--disable-pass", "remove_padding")
        self.assertEqual((code, error), (0, ""))
        self.assertFalse(rows(output)[0]["execution"]["planned"])
        self.assertIn("padded", {step["rows"] for step in rows(output)[0]["steps"]})

    def test_squeezed_and_empty_rows(self):
        out = self.outputs(ANSWER, input_ids=([2, 5, 3, 9, 9, 9], (2, 3), "q"), attention_mask=([1, 1, 1, 0, 0, 0], (2, 3), "q"))
        self.assertEqual(out["start_logits"][0], (2, 3))
        self.assertEqual(list(out["end_logits"][1][3:]), [0.0] * 3)

    def test_bad_tensors(self):
        def bad(says, **named):
            self.fails(1, "run", MASKED, *self.inputs(**named), says=says)
        good = ([2, 5, 3], (1, 3), "q")
        bad(["input_ids.npy", "700"], input_ids=([2, 700, 3], (1, 3), "q"))
        bad(["input_ids.npy", "-1"], input_ids=([2, -1, 3], (1, 3), "q"))
        bad("input_ids.npy", input_ids=([2, 1 << 40, 3], (1, 3), "q"))
        bad("token_type_ids.npy", input_ids=good, token_type_ids=([0, 2, 0], (1, 3), "q"))
        bad("position", input_ids=good, position_ids=([0, 128, 0], (1, 3), "q"))
        bad("[3]", input_ids=([2, 5, 3], (3,), "q"))
        bad("f32", input_ids=([2, 5, 3], (1, 3), "f"))
        bad("attention_mask.npy", input_ids=good, attention_mask=([1, 1], (1, 2), "q"))
        bad("input_ids", attention_mask=([1, 1, 1], (1, 3), "q"))
        bad(["pixels", "input_ids"], input_ids=good, pixels=good)
        bad(str(POSITIONS), input_ids=([5] * (POSITIONS + 1), (1, POSITIONS + 1), "q"))
        (self.path / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00\xff\xff")
        self.fails(1, "run", MASKED, "--input", f"input_ids={self.path}/broken.npy", "--output-dir", self.path / "o", says="broken.npy")
        self.fails(1, "run", MASKED, "--input", f"input_ids={self.path}/none.npy", "--output-dir", self.path / "o", says="none.npy")


if __name__ == "__main__":
    unittest.main()
