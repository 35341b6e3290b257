#!/usr/bin/env python3
"""`tokenize`: rows, and lines that are no text.

    tokenize_test.py PATH_OF_BERTIE [unittest arguments]
"""

import os
import tempfile
import unittest
from pathlib import Path

from program import MASKED, Case, rows, run


class Tokenize(Case):
    def test_rows(self):
        code, output, error = run("tokenize", MASKED, "--json", stdin="naïve\n\n a\r".encode())
        self.assertEqual((code, error), (0, ""))
        found = rows(output)
        self.assertEqual([row["text"] for row in found], ["naïve", "", " a\r"])
        self.assertEqual(list(found[0]), ["text", "ids", "tokens", "offsets"])
        self.assertEqual(found[1]["tokens"], ["[CLS]", "[SEP]"])
        self.assertEqual(found[1]["offsets"], [[0, 0], [0, 0]])

    def test_bad_line(self):
        code, output, error = run("tokenize", MASKED, "--json", stdin=b"a\n\xff\nb\n")
        self.assertEqual((code, error), (1, ""))
        self.assertEqual(["error" in row for row in rows(output)], [False, True, False])

    def test_neither_truncates_nor_needs_weights(self):
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(MASKED / "tokenizer.json", Path(folder) / "tokenizer.json")
            code, output, _ = run("tokenize", folder, "--json", "--text", "word " * 1000)
            self.assertEqual(code, 0)
            self.assertGreaterEqual(len(rows(output)[0]["ids"]), 1002)


if __name__ == "__main__":
    unittest.main()
