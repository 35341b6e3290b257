#!/usr/bin/env python3
"""Every task against Hugging Face's pipelines: tests/data/tasks/*/golden.json (made by tools/golden/make_task_goldens.py).

    task_goldens_test.py PATH_OF_BERTIE [unittest arguments]
"""

import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from itertools import groupby
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data" / "tasks"
BERTIE = sys.argv.pop(1)
TOLERANCE = 2e-5


def line_of(case):
    given = case["input"]
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def answers(folder, task, flags, lines, *more):
    command = [BERTIE, "run", str(folder), "--task", task, "--json", "--threads", "2", *flags, *more]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    return [json.loads(row) for row in done.stdout.splitlines()]


class TaskGoldens(unittest.TestCase):
    maxDiff = None

    def compare(self, got, expected, place):
        """Equal, numbers within the tolerance; extra fields of an answer row are looked over by the caller."""
        if isinstance(expected, float):
            self.assertAlmostEqual(got, expected, delta=TOLERANCE, msg=place)
        elif isinstance(expected, list):
            self.assertIsInstance(got, list, place)
            self.assertEqual(len(got), len(expected), f"{place}: {got} {expected}")
            for i, (g, e) in enumerate(zip(got, expected)):
                self.compare(g, e, f"{place}[{i}]")
        elif isinstance(expected, dict):
            self.assertEqual(list(got), list(expected), place)
            for key in expected:
                self.compare(got[key], expected[key], f"{place}.{key}")
        else:
            self.assertEqual(got, expected, place)

    def check_folder(self, folder, *more, model=None):
        """`model`: what to run in the folder's place."""
        cases = json.loads((folder / "golden.json").read_text())
        self.assertGreater(len(cases), 0)
        for (task, flags), group in groupby(cases, lambda case: (case["task"], case["flags"])):
            group = list(group)
            rows = answers(model or folder, task, flags, [line_of(case) for case in group], *more)
            self.assertEqual(len(rows), len(group))
            for number, (row, case) in enumerate(zip(rows, group)):
                self.compare(row, case["expected"], f"{folder.name} {task} {' '.join(flags)} case {number}")

    def test_cpu(self):
        folders = sorted(DATA.glob("*/golden.json"))
        self.assertGreaterEqual(len(folders), 10)
        for golden in folders:
            with self.subTest(golden.parent.name):
                self.check_folder(golden.parent)

    def test_reference(self):
        for golden in sorted(DATA.glob("*/golden.json")):
            with self.subTest(golden.parent.name):
                self.check_folder(golden.parent, "--device", "reference")

    def test_onnx_and_its_engine_file(self):
        """The folder's export with the folder's small files beside it, and an engine file of that, which is moved away and runs alone."""
        for golden in sorted(DATA.glob("*/golden.json")):
            folder = golden.parent
            with self.subTest(folder.name), tempfile.TemporaryDirectory() as work:
                copy, engine = Path(work) / "exported", Path(work) / "alone.bertie"
                shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("golden.json", "*.safetensors"))
                for command in (["export", folder, "-o", copy / "model.onnx"], ["build", copy / "model.onnx", "-o", engine]):
                    subprocess.run([BERTIE, *command], check=True, capture_output=True, timeout=120)
                self.check_folder(folder, model=copy / "model.onnx")
                shutil.rmtree(copy)
                self.check_folder(folder, model=engine)


if __name__ == "__main__":
    unittest.main()
