#!/usr/bin/env python3
"""`run` by task: answers, bad text of every kind, streaming and interrupts.

    run_test.py PATH_OF_BERTIE [unittest arguments]
"""

import array
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from program import ANSWER, BERTIE, BUNDLED, CLASSIFY, EMBED, MASKED, POSITIONS, RERANK, ROBERTA, SANITIZED, TAG, Case, read_npy, rows, run


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


if __name__ == "__main__":
    unittest.main()
