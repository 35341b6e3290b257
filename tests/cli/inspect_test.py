#!/usr/bin/env python3
"""`inspect`: plans, precisions, and networks as pictures.

    inspect_test.py PATH_OF_BERTIE [unittest arguments]
"""

import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

from program import BUNDLED, MASKED, Case, rows, run


class Inspect(Case):
    def test_inspect(self):
        code, output, error = run("inspect", MASKED, "--json")
        self.assertEqual((code, error), (0, ""))
        [row] = rows(output)
        self.assertEqual(row["family"], "bert")
        self.assertGreater(len(row["steps"]), 5)
        for step in row["steps"]:
            for field in ("name", "op", "kernel", "device", "precision", "reason"):
                self.assertIsInstance(step[field], str)
        self.assertIn("attention", [step["op"] for step in row["steps"]])
        self.assertIn("remove_padding", [one["name"] for one in row["passes"]])
        self.assertEqual(run("inspect", MASKED, "--network")[0], 0)

    def test_layer_precision(self):
        flags = ["--precision", "int8", "--layer-precision", "*.layer.1.*=fp32", "--layer-precision", "*.layer.1.output.dense=int8"]
        code, output, error = run("inspect", MASKED, "--json", *flags)
        self.assertEqual((code, error), (0, ""))
        [row] = rows(output)
        self.assertEqual(row["layer_precision"], flags[3::2])
        found = {step["name"]: step["precision"] for step in row["steps"] if step["op"] in ("linear", "int8_linear")}
        self.assertEqual({precision for name, precision in found.items() if ".layer.0." in name}, {"int8"})
        self.assertEqual({precision for name, precision in found.items() if ".layer.1." in name and not name.endswith("1.output.dense")},
                         {"fp32"})
        self.assertEqual([precision for name, precision in found.items() if name.endswith("layer.1.output.dense")], ["int8"])
        self.assertIn(b"in int8 but *.layer.1.*=fp32", run("inspect", MASKED, *flags)[1])
        # All layers in float32 are the float32 engine; tasks, benchmarks and engine files take the flag.
        text = ["--task", "fill-mask", "--text", "a [MASK]", "--json"]
        plain, named = run("run", MASKED, *text), run("run", MASKED, *text, "--precision", "int8", "--layer-precision", "*=fp32")
        self.assertEqual((named[0], named[2]), (0, ""))
        self.assertEqual(named[1], plain[1])
        self.assertNotEqual(run("run", MASKED, *text, "--layer-precision", "*=int8")[1], plain[1])
        self.assertEqual(run("bench", MASKED, "--batch", "1", "--sequence", "8", "--seconds", "0.02", "--layer-precision", "*=int8")[0], 0)
        self.fails(1, "inspect", MASKED, "--layer-precision", "*.layer.9.*=int8", says=["*.layer.9.*=int8", "inspect"])
        self.fails(1, "inspect", MASKED, "--layer-precision", "int8", says="PATTERN=P")
        self.fails(1, "inspect", MASKED, "--layer-precision", "*=fp8", says=["*=fp8", "fp32"])
        self.fails(1, "inspect", MASKED, "--layer-precision", "*.LayerNorm*=int8", says=["layer_norm", "no linear layer"])

    def test_bf16(self):
        """Linear layers where the instruction set has its products; elsewhere the error lists what there is."""
        _, out, _ = run("devices", "--json")
        cpu = next(device for device in rows(out) if device["name"] == "cpu")
        in_use = cpu["instruction_sets"][0] in ("avx512_bf16", "amx")
        self.assertEqual("bf16" in cpu["precisions"], in_use)
        self.assertEqual(cpu["peak_bf16_gflops"] > 0, in_use)
        self.fails(1, "run", MASKED, "--task", "fill-mask", "--text", "the [MASK]", "--precision", "bf16", environment={"BERTIE_ISA": "generic"},
                   says=["bf16", "cpu has fp32, int8"])
        for device in ["reference"] + ["cpu"] * in_use:
            code, out, _ = run("inspect", MASKED, "--device", device, "--precision", "bf16", "--json")
            self.assertEqual(code, 0)
            for step in rows(out)[0]["steps"]:
                self.assertEqual(step["precision"], "bf16" if step["op"] == "linear" else "fp32", step)
                if step["op"] == "linear" and device == "cpu":
                    self.assertIn("_bf16_linear", step["kernel"])
            code, out, _ = run("run", MASKED, "--task", "fill-mask", "--device", device, "--precision", "bf16", "--text", "the [MASK] of it", "--json")
            self.assertEqual(code, 0)
            self.assertEqual(len(rows(out)), 1)

    def test_verbose(self):
        code, output, error = run("run", MASKED, "--task", "fill-mask", "--text", "[MASK]", "--json", "--verbose")
        self.assertEqual((code, len(rows(output))), (0, 1))
        self.assertIn("remove_padding", error)


class Graphs(Case):
    def draw(self, extension):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ("network" + extension)
            code, _, error = run("inspect", MASKED, "--graph", path)
            self.assertEqual((code, error), (0, ""))
            return path.read_text()

    def test_svg(self):
        root = ElementTree.fromstring(self.draw(".svg"))
        texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        self.assertTrue(texts[0].startswith("As loaded"), texts[0])
        for text in ("attention", "input_ids", "logits", "attention_mask"):
            self.assertIn(text, texts)
        self.assertEqual(len([text for text in texts if text.startswith("After the passes")]), 1)
        self.assertTrue(any("fp32" in text for text in texts))  # the kernel's precision

    def test_layers_are_folded(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.svg"
            self.assertEqual(run("inspect", BUNDLED, "--graph", path)[0], 0)
            texts = [text.text for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
            folded = [text for text in texts if text.startswith("\u00d7 ")]
            self.assertEqual(len(folded), 2, folded)
            self.assertIn("\u00d7 6   encoder.layer.0 \u2026 encoder.layer.5", folded)
            self.assertEqual(texts.count("attention"), 3)  # before, after, and the legend

    def test_dot_and_html(self):
        self.assertIn("subgraph cluster_1", self.draw(".dot"))
        html = self.draw(".html")
        root = ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))
        self.assertEqual(len(list(root.iter("table"))), 1)
        for outside in ("http://", "https://", "src=", "href="):
            self.assertNotIn(outside, html.replace("http://www.w3.org/2000/svg", ""))
        self.assertIn("remove_padding", html)

    def test_refusals(self):
        self.fails(2, "inspect", MASKED, "--graph", "network.png", says="network.png: .svg, .dot or .html")
        self.fails(1, "inspect", MASKED, "--graph", "/no/such/folder/network.svg", says="network.svg")


if __name__ == "__main__":
    unittest.main()
