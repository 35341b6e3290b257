"""The program as its tests start it: folders of tests/data, rows, tensors in files, and what every failure looks like."""

import array
import json
import os
import struct
import subprocess
import sys
import unittest
from pathlib import Path

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
