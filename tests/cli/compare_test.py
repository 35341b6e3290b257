#!/usr/bin/env python3
"""`bertie compare` as its users meet it: rows, tables, samples, the gate and bad input.

    compare_test.py PATH_OF_BERTIE [unittest arguments]
"""

import tempfile
import unittest
from pathlib import Path

from program import BUNDLED, CLASSIFY, EMBED, MASKED, ROOT, Case, rows, run


class Compare(Case):
    """Figures are checked in src/calibration; here what the program makes of them."""

    DATA = ROOT / "tests" / "data" / "evaluation.txt"

    def row(self, *arguments, status=0, stdin=None):
        code, output, error = run("compare", *arguments, "--json", stdin=stdin)
        self.assertEqual(code, status, error)
        [row] = rows(output)
        return row, error

    def test_itself(self):
        row, _ = self.row(MASKED, MASKED, "--data", self.DATA, "--max-texts", 10, "--truncate", "--require", "agreement=1,loss=0,snr=200")
        self.assertEqual((row["task"], row["texts"], row["agreement"], row["loss"]), ("fill-mask", 10, 1, 0))
        self.assertEqual([(layer["snr"], layer["equal"]) for layer in row["layers"]], [(None, True)] * 2)
        self.assertEqual((row["first_fallen"], row["missed"]), (None, []))

    def test_sample_is_seeded(self):
        arguments = [MASKED, MASKED, "--data", self.DATA, "--max-texts", 5, "--truncate"]
        first, error = self.row(*arguments, "--seed", 3)
        self.assertIn("5 of 295 texts, seed 3", error)
        self.assertEqual(first, self.row(*arguments, "--seed", 3)[0])
        self.assertNotEqual(first["loss_a"], self.row(*arguments, "--seed", 4)[0]["loss_a"])

    def test_planted_difference(self):
        with tempfile.TemporaryDirectory() as folder:
            self.changed(folder, "bert.encoder.layer.1.output.dense.weight", lambda value: 3 * value)
            arguments = [MASKED, folder, "--data", "-", "--fallen", 100]
            text = b"a river\n\nan old town\n"
            row, _ = self.row(*arguments, stdin=text)
            self.assertEqual((row["texts"], row["first_fallen"]), (2, 1))
            self.assertTrue(row["layers"][0]["equal"])
            row, error = self.row(*arguments, "--require", "snr=99,loss=1000,cosine=0.5", status=1, stdin=text)
            self.assertRegex(error, r"^bertie: missed: snr [0-9.]+ is below 99; cosine is not measured here \(fill-mask\)\n$")
            self.assertEqual(len(row["missed"]), 2)

    def test_figures_that_are_not_finite(self):
        with tempfile.TemporaryDirectory() as folder:
            self.changed(folder, "bert.encoder.layer.0.output.LayerNorm.bias", lambda value: float("nan"))
            self.fails(1, "compare", MASKED, folder, "--data", "-", stdin=b"\n\na river\n", says=[folder, "line 3", "not finite"])

    def test_table(self):
        code, output, error = run("compare", EMBED, f"{EMBED},precision=int8", "--data", self.DATA, "--max-texts", 5)
        self.assertEqual(code, 0, error)
        self.assertRegex(output.decode(), r"embed: 5 texts, 5 compared\n  cosine +0\.99\d+\n  cosine_min +0\.99")

    def test_bad_usage_and_data(self):
        pair = [MASKED, MASKED, "--data", self.DATA]
        self.fails(2, "compare", MASKED, MASKED, says="--data")
        self.fails(2, "compare", MASKED, "--data", self.DATA, says="B")
        self.fails(2, "compare", f"{MASKED},speed=9", *pair[1:], says=["speed=9", "precision"])
        self.fails(2, "compare", ",precision=int8", *pair[1:], says="no model")
        self.fails(2, "compare", *pair, "--require", "truth=1", says=["truth", "agreement_led"])
        self.fails(2, "compare", *pair, "--require", "agreement=high", says="agreement=high")
        self.fails(2, "compare", *pair, "--require", "agreement=nan", says="agreement=nan")
        self.fails(2, "compare", *pair, "--max-texts", 0, says="--max-texts")
        self.fails(1, "compare", f"{MASKED},precision=fp9", *pair[1:], "--truncate", says="fp9")
        self.fails(1, "compare", MASKED, MASKED, "--data", "/no/file", says="/no/file")
        self.fails(1, "compare", MASKED, MASKED, "--data", "-", stdin=b"", says="no text")
        self.fails(1, "compare", MASKED, MASKED, "--data", "-", stdin=b" \n\n", says="no text")
        self.fails(1, "compare", MASKED, MASKED, "--data", "-", stdin=b"a\n\xff\n", says=["line 2", "UTF-8"])
        self.fails(1, "compare", MASKED, MASKED, "--data", "-", stdin=b"a " * 500, says=["line 1", "--truncate"])
        self.fails(1, "compare", MASKED, CLASSIFY, "--data", "-", stdin=b"a", says=["fill-mask", "classify"])
        self.fails(1, "compare", MASKED, BUNDLED, "--data", "-", stdin=b"a", says="vocabularies")


if __name__ == "__main__":
    unittest.main()
