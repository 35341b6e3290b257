#!/usr/bin/env python3
"""The program as its users meet it: rows, tables, exit statuses, bad input of every kind, streaming and interrupts.
Long, because one place holds what the program promises of every subcommand.

    cli_test.py PATH_OF_BERTIE [unittest arguments]
"""

import array
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "tests" / "data" / "tasks"
MASKED, CLASSIFY, TAG = TASKS / "bert_masked", TASKS / "bert_classify", TASKS / "bert_tag"
ANSWER, EMBED, RERANK = TASKS / "bert_answer", TASKS / "bert_embed", TASKS / "bert_rerank"
ROBERTA = TASKS / "roberta_masked"
BUNDLED = ROOT / "models" / "minilm-l6-mlm"
BERTIE = str(Path(sys.argv.pop(1)).resolve())
SANITIZED = os.environ.get("BERTIE_SANITIZED") == "1"  # address sanitizers need room, and time
POSITIONS = 128


def run(*arguments, stdin=None, timeout=900 if SANITIZED else 300, environment=None):
    """stdin and the outputs are bytes; `environment` comes on top of this process's."""
    done = subprocess.run([BERTIE, *map(str, arguments)], input=b"" if stdin is None else stdin, capture_output=True, timeout=timeout,
                          env=os.environ | (environment or {}))
    return done.returncode, done.stdout, done.stderr.decode()


def rows(output):
    return [json.loads(line) for line in output.decode().splitlines()]


def write_npy(path, values, shape, code="q"):
    kind = {"q": "<i8", "i": "<i4", "f": "<f4", "?": "|b1"}[code]
    header = str({"descr": kind, "fortran_order": False, "shape": tuple(shape)})
    header += " " * ((64 - (11 + len(header)) % 64) % 64) + "\n"
    data = bytes(values) if code == "?" else array.array(code, values).tobytes()
    Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def read_npy(path):
    """(shape, floats) of a float32 file in C order."""
    data = Path(path).read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
    size = struct.unpack("<H", data[8:10])[0]
    header = eval(data[10:10 + size])  # a literal that the program wrote
    assert header["descr"] == "<f4" and not header["fortran_order"], header
    assert (10 + size) % 64 == 0
    floats = array.array("f", data[10 + size:])
    count = 1
    for extent in header["shape"]:
        count *= extent
    assert len(floats) == count, (len(floats), header)
    return header["shape"], floats


class Case(unittest.TestCase):
    def fails(self, status, *arguments, stdin=None, says=(), environment=None):
        """One clear line on standard error, nothing on standard output."""
        code, output, error = run(*arguments, stdin=stdin, environment=environment)
        self.assertEqual(code, status, error)
        self.assertEqual(output, b"")
        self.assertTrue(error.startswith("bertie: "), error)
        self.assertEqual(error.count("\n"), 1, error)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, error)

    def changed(self, folder, tensor, change):
        """bert_masked with one float16 tensor changed."""
        for file in MASKED.iterdir():
            if file.name != "model.safetensors":
                os.symlink(file, Path(folder) / file.name)
        data = bytearray((MASKED / "model.safetensors").read_bytes())
        size = struct.unpack("<Q", data[:8])[0]
        entry = json.loads(data[8:8 + size])[tensor]
        self.assertEqual(entry["dtype"], "F16")
        begin, end = (8 + size + at for at in entry["data_offsets"])
        values = [change(value) for [value] in struct.iter_unpack("<e", data[begin:end])]
        data[begin:end] = struct.pack(f"<{len(values)}e", *values)
        (Path(folder) / "model.safetensors").write_bytes(data)

    def answers(self, *arguments, stdin=None, status=0):
        code, output, error = run("run", *arguments, "--json", stdin=stdin)
        self.assertEqual(code, status, error)
        return rows(output)


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


class Answers(Case):
    def test_fill_mask(self):
        [row] = self.answers(BUNDLED, "--task", "fill-mask", "--text", "The capital of France, [MASK], contains the Eiffel Tower.")
        self.assertEqual(list(row), ["text", "masks"])
        [mask] = row["masks"]
        self.assertEqual(mask["position"], 6)
        self.assertEqual(len(mask["candidates"]), 10)
        self.assertIn("paris", [candidate["token"] for candidate in mask["candidates"][:3]])
        scores = [candidate["score"] for candidate in mask["candidates"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual(list(mask["candidates"][0]), ["token", "id", "score", "text"])

    def test_scores_add_up_over_the_vocabulary(self):
        [row] = self.answers(MASKED, "--task", "fill-mask", "--text", "a [MASK] b", "--top-k", "100000")
        candidates = row["masks"][0]["candidates"]
        self.assertEqual(len(candidates), 700)
        self.assertAlmostEqual(sum(candidate["score"] for candidate in candidates), 1, places=5)

    def test_texts_that_look_like_syntax(self):
        texts = ["[MASK] is a [MASK]", "[MASK]", "-[MASK]", "--text [MASK]", "[a,[MASK],b]", "[MASK]=x"]
        for arguments in (["--text", *texts[:2]], [part for text in texts for part in ("--text", text)]):
            found = self.answers(MASKED, "--task", "fill-mask", *arguments)
            self.assertEqual([row["text"] for row in found], texts[:len(found)])
            self.assertGreaterEqual(len(found), 2)
        code, output, _ = run("run", "--task", "fill-mask", "--json", "--text", "[MASK] x [MASK]", MASKED)
        self.assertEqual((code, rows(output)[0]["text"]), (0, "[MASK] x [MASK]"))

    def test_wrong_masks_are_rows(self):
        found = self.answers(MASKED, "--task", "fill-mask", "--text", "no mask", "[mask] here", "<mask>", "good [MASK]", "[MASK] [Mask]",
                             status=1)
        self.assertEqual([list(row) for row in found], [["text", "error"]] * 3 + [["text", "masks"], ["text", "error"]])
        for row in found:
            if "error" in row:
                self.assertIn("[MASK]", row["error"])
        [row] = self.answers(ROBERTA, "--task", "fill-mask", "--text", "[MASK]", status=1)
        self.assertIn("<mask>", row["error"])
        code, output, error = run("run", MASKED, "--task", "fill-mask", "--text", "none")
        self.assertEqual((code, output), (1, b""))
        self.assertIn("bertie: text 1: ", error)

    def test_lines_of_standard_input(self):
        found = self.answers(MASKED, "--task", "fill-mask", stdin=b"a [MASK]\r\n\nlast [MASK]", status=1)
        self.assertEqual([row["text"] for row in found], ["a [MASK]\r", "", "last [MASK]"])
        self.assertIn("error", found[1])
        self.assertEqual(self.answers(MASKED, "--task", "fill-mask", stdin=b""), [])
        self.assertEqual(len(self.answers(EMBED, "--task", "embed", stdin=b"\n")), 1)

    def test_classify(self):
        [row] = self.answers(CLASSIFY, "--task", "classify", "--text", "good")
        self.assertEqual(list(row), ["text", "labels"])
        self.assertEqual({label["label"] for label in row["labels"]}, {"bad", "fair", "good"})
        self.assertAlmostEqual(sum(label["score"] for label in row["labels"]), 1, places=5)
        [pair] = self.answers(CLASSIFY, "--task", "classify", "--text", "good", "--text-pair", "bad")
        [line] = self.answers(CLASSIFY, "--task", "classify", stdin=b'{"text":"good","text_pair":"bad"}')
        self.assertEqual(pair, line)
        self.assertNotEqual(pair["labels"], row["labels"])
        self.assertEqual(len(self.answers(CLASSIFY, "--task", "classify", "--text", "x", "--top-k", "1")[0]["labels"]), 1)

    def test_offsets_are_characters(self):
        text = "日本語 😀 naïve Vienna"
        [row] = self.answers(TAG, "--task", "tag", "--text", text)
        self.assertTrue(row["entities"])
        for entity in row["entities"]:
            self.assertEqual(text[entity["start"]:entity["end"]], entity["text"])

    def test_answer(self):
        context = "Mozart 😀 lived in Vienna."
        [row] = self.answers(ANSWER, "--task", "answer", "--question", "Where?", "--context", context)
        self.assertEqual(list(row), ["question", "answer", "start", "end", "score"])
        self.assertEqual(context[row["start"]:row["end"]], row["answer"])
        lines = [json.dumps({"question": "Where?", "context": context}), "not json", json.dumps({"question": "x"}),
                 json.dumps({"question": "", "context": "x"}), json.dumps({"question": "x", "context": " "})]
        found = self.answers(ANSWER, "--task", "answer", stdin="\n".join(lines).encode(), status=1)
        self.assertEqual(found[0], row)
        self.assertEqual([bad["text"] for bad in found[1:]], lines[1:])
        self.assertIn("context", found[2]["error"])

    def test_rerank(self):
        texts = ["one", "two and more", "three"]
        [row] = self.answers(RERANK, "--task", "rerank", "--query", "q", "--text", *texts)
        self.assertEqual(list(row), ["query", "results"])
        self.assertEqual(sorted(result["index"] for result in row["results"]), [0, 1, 2])
        scores = [result["score"] for result in row["results"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        [line] = self.answers(RERANK, "--task", "rerank", stdin=json.dumps({"query": "q", "texts": texts}).encode())
        self.assertEqual(line, row)
        bad = self.answers(RERANK, "--task", "rerank", "--query", "q", "--text", "one", "word " * 200, "three", status=1)
        self.assertEqual([result["index"] for result in bad[-1]["results"]].count(1), 0)
        self.assertEqual(len(bad), 2)

    def test_embed(self):
        [row] = self.answers(EMBED, "--task", "embed", "--text", "hello")
        self.assertEqual(list(row), ["text", "embedding"])
        self.assertAlmostEqual(sum(value * value for value in row["embedding"]), 1, places=5)
        [plain] = self.answers(EMBED, "--task", "embed", "--text", "hello", "--no-normalize")
        [cls] = self.answers(EMBED, "--task", "embed", "--text", "hello", "--pooling", "cls")
        norm = sum(value * value for value in plain["embedding"]) ** 0.5
        self.assertGreater(abs(norm - 1), 1e-3)
        for a, b in zip(row["embedding"], plain["embedding"]):
            self.assertAlmostEqual(a, b / norm, places=5)
        self.assertNotEqual(cls["embedding"], row["embedding"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.npy"
            code, output, error = run("run", EMBED, "--task", "embed", "--output", path, stdin=b"hello\nb\xffd\nhello\n")
            self.assertEqual((code, output), (1, b""))
            self.assertIn("text 2", error)
            shape, values = read_npy(path)
            self.assertEqual(shape, (3, 32))
            self.assertEqual(values[:32], array.array("f", row["embedding"]))
            self.assertEqual(values[64:], values[:32])
            self.assertTrue(all(value != value for value in values[32:64]))

    def test_tables(self):
        code, output, error = run("run", MASKED, "--task", "fill-mask", "--text", "a [MASK]")
        self.assertEqual(code, 0)
        self.assertEqual(len(output.splitlines()), 11)
        self.assertRegex(error, r"load [\d.]+ ms, tokenise [\d.]+ ms, run [\d.]+ ms")
        code, output, error = run("run", MASKED, "--task", "fill-mask", stdin=b"a [MASK]\n")
        self.assertEqual((code, error), (0, ""))  # quiet when piped

    def test_order_and_independence(self):
        texts = ["word " * (1 + 37 * i % 50) + "[MASK] end" for i in range(150)]
        together = self.answers(MASKED, "--task", "fill-mask", "--top-k", "3", stdin="\n".join(texts).encode())
        self.assertEqual([row["text"] for row in together], texts)
        for i in (0, 7, 149):
            self.assertEqual(self.answers(MASKED, "--task", "fill-mask", "--top-k", "3", "--text", texts[i])[0], together[i])
        small = self.answers(MASKED, "--task", "fill-mask", "--top-k", "3", "--batch-tokens", "1", "--threads", "1",
                             stdin="\n".join(texts).encode())
        self.assertEqual(small, together)
        throughput = self.answers(MASKED, "--task", "fill-mask", "--top-k", "3", "--mode", "throughput", "--threads", "3", "--pin",
                                  stdin="\n".join(texts).encode())
        self.assertEqual(throughput, together)


class BadText(Case):
    def test_invalid_utf8(self):
        found = self.answers(MASKED, "--task", "fill-mask", stdin=b"ok [MASK]\nbad \xff\xfe [MASK]\n\xc3(\nok [MASK]\n", status=1)
        self.assertEqual(["error" in row for row in found], [False, True, True, False])
        self.assertEqual(found[0], found[3])

    def test_too_long(self):
        long = "word " * 2 * POSITIONS + "[MASK]"
        [row] = self.answers(MASKED, "--task", "fill-mask", "--text", long, status=1)
        self.assertIn(str(POSITIONS), row["error"])
        self.assertIn("--truncate", row["error"])
        [row] = self.answers(MASKED, "--task", "fill-mask", "--truncate", "--text", long, status=1)
        self.assertIn("[MASK]", row["error"])  # cut away
        [row] = self.answers(MASKED, "--task", "fill-mask", "--truncate", "--text", "[MASK] " + long)
        self.assertEqual(row["masks"][0]["position"], 1)
        self.assertEqual(len(self.answers(EMBED, "--task", "embed", "--text", long)), 1)  # the folder states a length

    def test_ten_megabytes(self):
        for text in (b"word " * (1 << 21), b"x" * (10 << 20), "é".encode() * (5 << 20)):
            found = self.answers(MASKED, "--task", "fill-mask", stdin=b"[MASK] a\n" + text + b"\n[MASK] b\n", status=1)
            self.assertEqual(["error" in row for row in found], [False, True, False])

    def test_nul_and_controls(self):
        found = self.answers(EMBED, "--task", "embed", stdin=b"a\0b\n\x01\x02\n\xef\xbf\xbd\n")
        self.assertEqual([row["text"] for row in found], ["a\0b", "\x01\x02", "\ufffd"])


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


class Streaming(Case):
    def test_hundred_thousand_lines_in_bounded_memory(self):
        count = 2000 if SANITIZED else 100_000
        line = "The cat number {} sat on the mat of Vienna."
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lines.txt"
            path.write_text("".join(line.format(i) + "\n" for i in range(count)))
            peaks = []
            for lines in (count // 20, count):
                path.write_text("".join(line.format(i) + "\n" for i in range(lines)))
                with open(Path(folder) / "out", "wb") as out:
                    before = time.monotonic()
                    process = subprocess.Popen([BERTIE, "run", EMBED, "--task", "embed", "--json", "--file", path], stdout=out,
                                               stderr=subprocess.PIPE)
                    error = process.stderr.read()
                    process.stderr.close()
                    _, status, usage = os.wait4(process.pid, 0)
                    process.returncode = os.waitstatus_to_exitcode(status)
                self.assertEqual((process.returncode, error), (0, b""))
                peaks.append(usage.ru_maxrss)
                self.assertLess(time.monotonic() - before, 300)
            with open(Path(folder) / "out", encoding="utf-8") as out:
                for i, row in enumerate(out):
                    self.assertTrue(row.startswith('{"text":"' + line.format(i) + '"'), row[:100])
                self.assertEqual(i + 1, count)
            if not SANITIZED:
                self.assertLess(peaks[1], peaks[0] + 16 * 1024, peaks)  # KiB

    def test_answers_come_while_the_pipe_is_open(self):
        process = subprocess.Popen([BERTIE, "run", MASKED, "--task", "fill-mask", "--json"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        for i in range(3):
            text = f"number {i} [MASK]"
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline())["text"], text)
        process.stdin.close()
        self.assertEqual(process.wait(30), 0)
        process.stdout.close()

    def start(self, *arguments):
        return subprocess.Popen([BERTIE, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_interrupt_while_waiting(self):
        process = self.start("run", MASKED, "--task", "fill-mask", "--json")
        process.stdin.write(b"one [MASK]\n")
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        self.assertEqual((process.wait(30), process.stderr.read()), (130, b""))
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()

    def test_interrupt_while_working(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lines.txt"
            path.write_text("a line with a [MASK] in it\n" * 200_000)
            process = self.start("run", MASKED, "--task", "fill-mask", "--json", "--file", path)
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            output, error = process.stdout.read(), process.stderr.read()
            self.assertEqual((process.wait(60), error), (130, b""))
            process.stdin.close()
            process.stdout.close()
            process.stderr.close()
            for row in [first, *output.splitlines()]:
                self.assertIn("masks", json.loads(row))
            self.assertTrue(output.endswith(b"\n") or not output)

    def test_closed_pipe_is_quiet(self):
        process = subprocess.Popen([BERTIE, "run", MASKED, "--task", "fill-mask", "--json"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        try:
            process.stdin.write(b"a [MASK]\n" * 5000)
            process.stdin.close()
        except BrokenPipeError:
            pass
        self.assertEqual(process.stderr.read(), b"")
        self.assertNotEqual(process.wait(30), 0)
        process.stderr.close()


class Reports(Case):
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

    def test_verbose(self):
        code, output, error = run("run", MASKED, "--task", "fill-mask", "--text", "[MASK]", "--json", "--verbose")
        self.assertEqual((code, len(rows(output))), (0, 1))
        self.assertIn("remove_padding", error)


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
