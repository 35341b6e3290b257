#!/usr/bin/env python3
"""Help, exit statuses, and what cannot be done.

    usage_test.py PATH_OF_BERTIE [unittest arguments]
"""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from program import ANSWER, BERTIE, CLASSIFY, MASKED, Case, run


class Usage(Case):
    def test_version_and_help(self):
        code, output, error = run("--version")
        self.assertEqual((code, error), (0, ""))
        self.assertRegex(output.decode(), r"^bertie \d+\.\d+\.\d+\n$")
        for command in ([], ["run"], ["tokenize"], ["inspect"], ["bench"], ["calibrate"], ["compare"], ["devices"]):
            code, output, error = run(*command, "--help")
            self.assertEqual((code, error), (0, ""))
            self.assertIn(b"--help", output)

    def test_wrong_usage_is_2(self):
        self.fails(2)
        self.fails(2, "walk", says="walk")
        self.fails(2, "run", says="MODEL")
        self.fails(2, "run", MASKED, says="--task")
        self.fails(2, "run", MASKED, "--task", "fill-mask", "--frobnicate", says="--frobnicate")
        self.fails(2, "run", MASKED, "--task", "guess", says="guess")
        self.fails(2, "run", MASKED, "--task", "fill-mask", "--top-k", "0", says="--top-k")
        self.fails(2, "run", MASKED, "--task", "fill-mask", "--top-k", "many", says="--top-k")
        self.fails(2, "run", MASKED, "--task", "fill-mask", "--threads", "0", says="--threads")
        self.fails(2, "run", MASKED, "--task", "fill-mask", "--device", "toaster", says="toaster")
        self.fails(2, "run", MASKED, "--task", "fill-mask", "--precision", "fp7", says="fp7")
        self.fails(2, "run", MASKED, "--task", "fill-mask", "--text", "x", "--file", "y", says="--file")
        self.fails(2, "run", MASKED, "--task", "fill-mask", "--query", "x", says="--query")
        self.fails(2, "run", ANSWER, "--task", "answer", "--context", "x", says="--question")
        self.fails(2, "run", MASKED, "--task", "tag", "--group", "odd", says="odd")
        self.fails(2, "run", MASKED, "--input", "input_ids", "--output-dir", "/tmp", says="NAME=FILE")
        self.fails(2, "run", MASKED, "--input", "input_ids=x.npy", says="--output-dir")
        self.fails(2, "run", MASKED, "--task", "fill-mask", "--mode", "fast", says="fast")
        self.fails(2, "bench", says="MODEL")
        self.fails(2, "tokenize", MASKED, "--what", says="--what")

    def test_what_cannot_be_done_is_1(self):
        self.fails(1, "run", "/nowhere", "--task", "fill-mask", "--text", "x", says="/nowhere")
        self.fails(1, "inspect", "/nowhere", says="/nowhere")
        self.fails(1, "tokenize", "/nowhere", "--text", "x", says="/nowhere")
        self.fails(1, "run", MASKED, "--task", "classify", "--text", "x", says=["classify", "fill-mask"])
        self.fails(1, "run", CLASSIFY, "--task", "fill-mask", "--text", "x", says=["fill-mask", "classify"])
        self.fails(1, "run", CLASSIFY, "--task", "rerank", "--query", "q", "--text", "x", says="rerank")
        self.fails(1, "run", MASKED, "--task", "fill-mask", "--precision", "fp8", "--text", "x", says=["fp8", "fp32"])
        self.fails(1, "run", MASKED, "--task", "fill-mask", "--file", "/no/such/file", says="/no/such/file")
        self.fails(1, "run", MASKED, "--task", "fill-mask", "--tokenizer", "/nowhere", "--text", "x", says="/nowhere")
        self.fails(1, "bench", "--random", "nonsense", says="nonsense")

    def test_folder_without_tokenizer(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("config.json", "model.safetensors"):
                os.symlink(MASKED / name, Path(folder) / name)
            self.fails(1, "run", folder, "--task", "fill-mask", "--text", "[MASK]", says=folder)
            self.fails(1, "tokenize", folder, "--text", "[MASK]", says=folder)
            found = self.answers(folder, "--task", "fill-mask", "--tokenizer", MASKED, "--text", "[MASK]")
            self.assertEqual(len(found), 1)
            self.assertEqual(run("inspect", folder, "--json")[0], 0)

    def test_unwritable_output(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BERTIE, "tokenize", MASKED, "--text", "x", "--json"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


if __name__ == "__main__":
    unittest.main()
