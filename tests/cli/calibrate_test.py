#!/usr/bin/env python3
"""`bertie calibrate` as its users meet it: caches, their bytes, tables and bad input; `inspect` of a cache.

    calibrate_test.py PATH_OF_BERTIE [unittest arguments]
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from program import BERTIE, BUNDLED, CLASSIFY, EMBED, MASKED, ROBERTA, ROOT, SANITIZED, Case, rows, run

DATA = ROOT / "tests" / "data" / "calibration.txt"


class Calibrate(Case):
    """Numbers are checked in src/calibration and src/quant; here what the program makes of them."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.cache = Path(self.folder.name) / "cache.json"

    def tearDown(self):
        self.folder.cleanup()

    def calibrate(self, model, *arguments, stdin=None, data=DATA):
        """The row on standard output, the cache and standard error."""
        code, output, error = run("calibrate", model, "--data", data, "-o", self.cache, "--json", *arguments, stdin=stdin)
        self.assertEqual(code, 0, error)
        [row] = rows(output)
        return row, self.cache.read_bytes(), error

    def test_row_and_cache(self):
        row, cache, _ = self.calibrate(MASKED, "--max-texts", 20, "--truncate")
        self.assertEqual((row["texts"], row["method"], len(row["tensors"])), (20, "minmax", 9))
        cache = json.loads(cache)
        self.assertEqual((cache["texts"], cache["tokens"], cache["data_hash"]), (20, row["tokens"], row["data_hash"]))
        self.assertEqual(sorted(layer for tensor in row["tensors"] for layer in tensor["layers"]), sorted(cache["layers"]))
        for tensor in row["tensors"]:
            self.assertEqual(sum(tensor["counts"]), row["tokens"] * tensor["channels"])
            self.assertEqual((len(tensor["counts"]), tensor["clipped"]), (2048, 0))
            entry = cache["layers"][tensor["layers"][0]]
            self.assertAlmostEqual(entry["scale"] * 127, tensor["threshold"], delta=1e-6 * tensor["threshold"])
            self.assertEqual(len(entry["mean"]), tensor["channels"])

    def test_same_bytes_on_any_number_of_threads(self):
        model = MASKED if SANITIZED else BUNDLED  # sanitizers would take minutes for the bundled model
        for method in ("minmax", "entropy"):
            options = ["--method", method, "--max-texts", 40, "--truncate"]
            first = self.calibrate(model, *options, "--threads", 1)[1]
            self.assertEqual(first, self.calibrate(model, *options, "--threads", 2)[1])
        self.assertNotEqual(first, self.calibrate(model, *options, "--seed", 1)[1])

    def test_rounding_of_weights(self):
        for rounding in ("texts", "nearest"):
            cache = json.loads(self.calibrate(MASKED, "--max-texts", 20, "--truncate", "--rounding", rounding)[1])
            lists = {layer: entry.get("other_neighbours", []) for layer, entry in cache["layers"].items()}
            self.assertEqual(any(map(len, lists.values())), rounding == "texts")
            _, output, _ = run("inspect", self.cache, "--json")
            [row] = rows(output)
            for layer in row["layers"]:
                self.assertEqual(layer["other_neighbours"], sum(map(len, lists[layer["name"]])))

    def test_methods(self):
        ranges = {}
        for method in (["minmax"], ["percentile"], ["percentile", "--percentile", "99"], ["mse"], ["entropy"]):
            row, _, _ = self.calibrate(MASKED, "--max-texts", 50, "--truncate", "--method", *method)
            ranges[" ".join(method)] = [tensor["threshold"] / tensor["range"] for tensor in row["tensors"]]
        self.assertEqual(set(ranges["minmax"]), {1})
        for method in ("percentile", "mse", "entropy"):
            self.assertTrue(all(0 < share <= 1 for share in ranges[method]), ranges)
        pairs = list(zip(ranges["percentile --percentile 99"], ranges["percentile"]))
        self.assertTrue(all(a <= b for a, b in pairs) and any(a < b for a, b in pairs), ranges)

    def test_migration_and_shift(self):
        row, cache, _ = self.calibrate(MASKED, "--max-texts", 20, "--truncate", "--migration", "off", "--shift", "none")
        self.assertEqual({(tensor["shift"], tensor["alpha"]) for tensor in row["tensors"]}, {("none", None)})
        for entry in json.loads(cache)["layers"].values():
            self.assertEqual([key for key in ("migration", "shift") if key in entry], [])
            self.assertAlmostEqual(entry["scale"] * 127, max(-entry["lowest"], entry["highest"]), places=5)
        plain = [tensor["error"] for tensor in row["tensors"]]
        row, cache, _ = self.calibrate(MASKED, "--max-texts", 20, "--truncate", "--shift", "channel")
        self.assertEqual({tensor["shift"] for tensor in row["tensors"]}, {"channel"})
        self.assertTrue(all(b["error"] < a for a, b in zip(plain, row["tensors"])))

    @unittest.skipIf(SANITIZED, "minutes")
    def test_accuracy_of_what_it_is_for(self):
        lines = (ROOT / "tests" / "data" / "evaluation.txt").read_bytes().split(b"\n")
        texts = b"\n".join(lines[::12])
        found = {}
        for name, options in (("best", []), ("plain", ["--migration", "off", "--shift", "none"])):
            self.calibrate(BUNDLED, "--max-texts", 100, *options)
            code, output, error = run("compare", BUNDLED, f"{BUNDLED},calibration={self.cache}", "--data", "-", "--json", stdin=texts)
            self.assertEqual(code, 0, error)
            [found[name]] = rows(output)
        self.assertGreater(found["best"]["agreement_led"], 0.98)
        self.assertGreater(found["best"]["agreement"], 0.92)
        self.assertLess(found["best"]["loss"], 0.02)
        self.assertLess(found["plain"]["agreement"], found["best"]["agreement"] - 0.05)

    def test_sensitivity_and_precision_auto(self):
        code, output, error = run("calibrate", MASKED, "--data", DATA, "-o", self.cache, "--max-texts", 9, "--truncate", "--sensitivity")
        self.assertEqual(code, 0, error)
        self.assertRegex(output.decode(), r"loss of the task with one layer in eight bits \(all of them: [0-9.]+%\)\n +[0-9.]+%  ")
        self.fails(1, "run", MASKED, "--task", "fill-mask", "--precision", "auto", "--calibration", self.cache, "--text", "[MASK]",
                   says="--max-loss")
        self.fails(1, "run", MASKED, "--task", "fill-mask", "--precision", "auto", "--text", "[MASK]", says=["auto", "calibrat"])
        found = {}
        for bound in ("100%", "0.00000001"):
            row, _, _ = self.calibrate(MASKED, "--max-texts", 9, "--truncate", "--max-loss", bound)
            side = f"{MASKED},precision=auto,calibration={self.cache}"
            code, output, error = run("compare", MASKED, side, "--data", DATA, "--max-texts", 9, "--truncate", "--json")
            self.assertEqual(code, 0, error)
            [found[bound]] = rows(output)
            self.assertEqual(len(row["sensitivity"]["layers"]), 9)
            self.assertLessEqual(row["sensitivity"]["loss"], 1 if bound == "100%" else 1e-8)
            self.assertEqual(len(row["sensitivity"]["kept"]), 0 if bound == "100%" else 9)
            _, output, _ = run("inspect", self.cache, "--json")
            [shown] = rows(output)
            self.assertAlmostEqual(shown["max_loss"] / (1 if bound == "100%" else 1e-8), 1, places=6)
            losses = {layer["layer"]: layer["loss"] for layer in row["sensitivity"]["layers"]}
            self.assertEqual([layer["layer"] for layer in shown["kept"]], row["sensitivity"]["kept"])
            for layer in shown["kept"]:
                self.assertAlmostEqual(layer["loss"], losses[layer["layer"]], delta=1e-6 * layer["loss"])
            _, output, _ = run("inspect", self.cache)
            self.assertRegex(output.decode(), f"precision auto, loss at most {'100' if bound == '100%' else '1e-06'}%: "
                                              f"{len(shown['kept'])} of 9 layers stay in float32")
            self.assertEqual(output.decode().count("% alone  "), len(shown["kept"]))
        self.assertTrue(all(layer["equal"] for layer in found["0.00000001"]["layers"]))
        self.assertFalse(any(layer["equal"] for layer in found["100%"]["layers"]))

    def test_masked_words(self):
        self.assertGreater(self.calibrate(ROBERTA, "--max-texts", 20, "--truncate")[0]["masked"], 20)
        self.assertEqual(self.calibrate(MASKED, "--max-texts", 20, "--truncate", "--mask-every", 0)[0]["masked"], 0)
        for model in (CLASSIFY, EMBED):
            self.assertEqual(self.calibrate(model, "--max-texts", 20, "--truncate")[0]["masked"], 0)

    def test_one_word_and_standard_input(self):
        row, _, _ = self.calibrate(MASKED, data="-", stdin=b"\n\na\n")
        self.assertEqual((row["texts"], row["tokens"]), (1, 3))

    def test_table_and_inspect(self):
        code, output, error = run("calibrate", MASKED, "--data", DATA, "-o", self.cache, "--max-texts", 10, "--truncate")
        self.assertEqual(code, 0, error)
        self.assertRegex(output.decode(), r"cache.json: 9 layers read 9 tensors, by minmax over 10 texts")
        self.assertIn("encoder.layer.1.output.dense", output.decode())
        code, output, error = run("inspect", self.cache)
        self.assertEqual((code, error), (0, ""))
        self.assertRegex(output.decode(), r"calibration of 9 layers by minmax\n.*\n.*10 texts")
        code, output, _ = run("inspect", self.cache, "--json")
        [row] = rows(output)
        self.assertEqual((code, row["texts"], len(row["layers"])), (0, 10, 9))
        self.cache.write_bytes(self.cache.read_bytes().replace(b'"scale":', b'"scale":1', 1))
        self.fails(1, "inspect", self.cache, says=[str(self.cache), "changed"])

    def test_what_never_changes(self):
        with tempfile.TemporaryDirectory() as folder:
            self.changed(folder, "bert.embeddings.LayerNorm.weight", lambda value: 0.0)  # its bias is 0 too
            row, cache, _ = self.calibrate(folder, "--max-texts", 5, "--truncate")
            tensor = row["tensors"][0]
            self.assertEqual((tensor["dead"], tensor["range"]), (tensor["channels"], 0))
            self.assertEqual(json.loads(cache)["layers"]["encoder.layer.0.attention.self.qkv"]["scale"], 1)
        with tempfile.TemporaryDirectory() as folder:
            self.changed(folder, "bert.encoder.layer.0.intermediate.dense.weight", lambda value: 0.0)
            self.calibrate(folder, "--max-texts", 5, "--truncate")

    def test_what_is_not_finite_is_named(self):
        for tensor, says in (("bert.encoder.layer.0.output.LayerNorm.bias", ["line 3", "encoder.layer.1.attention.self.qkv", "not finite"]),
                             ("bert.encoder.layer.1.output.dense.weight", ["encoder.layer.1.output.dense", "not finite"])):
            for number in ("nan", "inf", "-inf"):
                with tempfile.TemporaryDirectory() as folder:
                    self.changed(folder, tensor, lambda value: float(number))
                    self.fails(1, "calibrate", folder, "--data", "-", "-o", self.cache, stdin=b"\n\na river\n", says=says)
                    self.assertFalse(self.cache.exists())

    @unittest.skipIf(SANITIZED, "minutes")
    def test_ten_million_lines(self):
        def calibrate(lines, *arguments):
            """The row, and the most memory it took, in KiB."""
            with tempfile.TemporaryFile() as output:
                child = subprocess.Popen([BERTIE, "calibrate", str(MASKED), "--data", "-", "-o", str(self.cache), "--json", "--max-texts", "4",
                                          "--threads", "1", *map(str, arguments)], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL)
                for begin in range(0, lines, 10000):
                    child.stdin.write(b"".join(b"the river %d\n" % line for line in range(begin, min(begin + 10000, lines))))
                child.stdin.close()
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = status  # it has been waited for
                self.assertEqual(status, 0)
                output.seek(0)
                [row] = rows(output.read())
                return row, usage.ru_maxrss
        few, least = calibrate(1000)
        many, most = calibrate(10_000_000)
        self.assertEqual((few["texts"], many["texts"]), (4, 4))
        self.assertNotEqual(few["data_hash"], many["data_hash"])
        self.assertLess(most, least + 20_000)  # the texts alone are 180 MB
        self.assertEqual(calibrate(1000)[0]["data_hash"], few["data_hash"])
        self.assertNotEqual(calibrate(1000, "--seed", 1)[0]["data_hash"], few["data_hash"])

    def test_another_language(self):
        code, _, error = run("calibrate", MASKED, "--data", "-", "-o", self.cache, stdin="東京は日本の首都です。 漢字".encode())
        self.assertEqual(code, 0)
        self.assertRegex(error, r"^bertie: -: \d+% of the words are unknown to the model: are the texts in its language\?\n$")

    def test_bad_usage_and_data(self):
        usual = [MASKED, "--data", DATA, "-o", self.cache]
        self.fails(2, "calibrate", *usual[:3], says="--output")
        self.fails(2, "calibrate", MASKED, "-o", self.cache, says="--data")
        self.fails(2, "calibrate", *usual, "--method", "best", says=["best", "entropy"])
        self.fails(2, "calibrate", *usual, "--method", "percentile", "--percentile", 101, says="101")
        self.fails(2, "calibrate", *usual, "--percentile", 99, says="--method percentile")
        self.fails(2, "calibrate", *usual, "--migration", "maybe", says="maybe")
        self.fails(2, "calibrate", *usual, "--max-texts", 0, says="--max-texts")
        for share in ("0", "half", "101%", "-1%", "nan", "%"):
            self.fails(2, "calibrate", *usual, f"--max-loss={share}", says=["--max-loss", "0.5%"])
        for text, says in ((b"", "no text"), (b" \n\n", "no text"), (b"a\n\xff\n", ["line 2", "UTF-8"]),
                           (b"a " * 500, ["line 1", "--truncate"])):
            self.fails(1, "calibrate", MASKED, "--data", "-", "-o", self.cache, stdin=text, says=says)
        self.fails(1, "calibrate", MASKED, "--data", "/no/file", "-o", self.cache, says="/no/file")
        self.fails(1, "calibrate", MASKED, "--data", "-", "-o", "/no/folder/cache", stdin=b"a", says="/no/folder/cache")
        self.fails(1, "calibrate", "/no/model", "--data", "-", "-o", self.cache, stdin=b"a", says="/no/model")
        self.assertFalse(self.cache.exists())
        self.calibrate(MASKED, data="-", stdin=b"a")
        self.fails(1, "run", ROBERTA, "--task", "fill-mask", "--calibration", self.cache, "--text", "<mask>", says=[str(self.cache), "another model"])


if __name__ == "__main__":
    unittest.main()
