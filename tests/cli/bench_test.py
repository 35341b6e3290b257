#!/usr/bin/env python3
"""`bench` and `devices`: tables, rows, traces.

    bench_test.py PATH_OF_BERTIE [unittest arguments]
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from program import BERTIE, MASKED, Case, rows, run


class Bench(Case):
    def test_bench(self):
        code, output, error = run("bench", MASKED, "--batch", "1,3", "--sequence", "8,16", "--seconds", "0.02", "--json")
        self.assertEqual((code, error), (0, ""))
        found = rows(output)
        self.assertEqual([(row["batch"], row["sequence"], row["tokens"]) for row in found], [(1, 8, 8), (1, 16, 16), (3, 8, 24), (3, 16, 48)])
        for row in found:
            self.assertLessEqual(row["p50_ms"], row["p99_ms"])
            for field in ("model", "device", "precision", "p90_ms", "tokens_per_s", "sequences_per_s", "peak_share"):
                self.assertIn(field, row)
        code, output, error = run("bench", MASKED, "--sequence", "8", "--seconds", "0.02", "--json", "--mode", "throughput", "--threads", "3", "--pin")
        self.assertEqual((code, error), (0, ""))
        [row] = rows(output)
        self.assertEqual((row["mode"], row["sessions"], row["threads"], row["sequences"]), ("throughput", 3, 3, 1))
        self.assertGreaterEqual(row["runs"], 15)
        self.assertGreater(row["sequences_per_s"], 0)
        code, output, error = run("bench", "--random", "1,32,2,64", "--batch", "2", "--sequence", "8", "--seconds", "0.02", "--profile")
        self.assertEqual(code, 0, error)
        self.assertIn(b"attention", output)
        code, output, error = run("bench", "--random", "1,32,2,64", "--batch", "2", "--sequence", "8", "--seconds", "0.02", "--profile", "--json")
        self.assertEqual((code, error), (0, ""))
        [row] = rows(output)
        self.assertGreater(row["peaks"]["gflops"]["fp32"], 0)
        self.assertIn("attention", [step["op"] for step in row["steps"]])
        self.assertEqual(sum(step["flops"] for step in row["steps"] if step["op"] == "linear"), 2 * 16 * (4 * 32 * 32 + 2 * 32 * 64))
        self.fails(1, "bench", MASKED, "--sequence", "129", "--json", says="129")

    def test_bench_mixes_and_traces(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.json")
            code, output, error = run("bench", MASKED, "--mix", "uniform", "--batch", "20", "--sequence", "16", "--seconds", "0.02", "--json", "--trace", path)
            self.assertEqual(code, 0, error)
            row = json.loads(output)
            self.assertTrue(20 <= row["tokens"] < 20 * 16, row)
            self.assertNotIn("gpu_p50_ms", row)
            with open(path, encoding="utf-8") as file:
                events = [event for event in json.load(file)["traceEvents"] if event["ph"] == "X"]
            self.assertEqual({event["cat"] for event in events} & {"linear", "attention"}, {"linear", "attention"})
            for event, following in zip(events, events[1:]):
                self.assertAlmostEqual(event["ts"] + event["dur"], following["ts"], places=3)
        self.fails(2, "bench", MASKED, "--mix", "uniform", "--lengths", "x", says="--mix")
        self.fails(2, "bench", MASKED, "--device", "cuda:0,cpu", says="unknown device")

    def test_bench_lengths(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lengths"
            path.write_text("5\n7\n1\n")
            code, output, _ = run("bench", MASKED, "--lengths", path, "--seconds", "0.02", "--json")
            self.assertEqual((code, rows(output)[0]["tokens"], rows(output)[0]["sequence"]), (0, 13, 7))
            path.write_text("two words\nthree more words\n")
            code, output, _ = run("bench", MASKED, "--lengths", path, "--batch", "1", "--seconds", "0.02", "--json")
            self.assertEqual((code, rows(output)[0]["batch"]), (0, 1))

    def test_devices(self):
        code, output, error = run("devices", "--json")
        self.assertEqual((code, error), (0, ""))
        names = [row["name"] for row in rows(output)]
        self.assertIn("cpu", names)
        self.assertIn("reference", names)
        [cpu] = [row for row in rows(output) if row["name"] == "cpu"]
        self.assertTrue(1 <= cpu["packages"] <= cpu["cores"] <= len(os.sched_getaffinity(0)), cpu)
        self.assertGreaterEqual(cpu["numa_nodes"], 1)

    def test_devices_counts_what_the_process_may_use(self):
        one = min(os.sched_getaffinity(0))
        done = subprocess.run([BERTIE, "devices"], capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, {one}))
        self.assertIn(b"  cores             1 with 1 thread, 1 package, 1 NUMA node\n", done.stdout)


if __name__ == "__main__":
    unittest.main()
