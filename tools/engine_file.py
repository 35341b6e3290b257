#!/usr/bin/env python3
"""Reads an engine file by its description in docs/design/engine-file.md, apart from bertie's own code, and dumps it.

    tools/engine_file.py FILE.bertie          sections, tensors and an annotated dump of the header
"""

import json
import struct
import sys

import numpy as np
import xxhash

PAGE = 4096
CHUNK = 1 << 20
DTYPES = {"f32": "<f4", "f16": "<f2", "bf16": "<u2", "f64": "<f8", "i8": "i1", "u8": "u1", "i32": "<i4", "i64": "<i8", "bool": "?"}


def section_checksum(data):
    chunks = [xxhash.xxh3_64_intdigest(data[i:i + CHUNK]) for i in range(0, len(data), CHUNK)]
    return xxhash.xxh3_64_intdigest(struct.pack(f"<{len(chunks)}Q", *chunks))


class EngineFile:
    """Checks every byte; `sections` maps names to bytes, `tensors` names to row-major arrays."""

    def __init__(self, path):
        self.data = data = open(path, "rb").read()
        assert data[:8] == b"\x89BERTIE\n" and data[8:12] == bytes([4, 3, 2, 1])
        version, size, count, zero, header, checksum = struct.unpack_from("<IQIIQQ", data, 12)
        assert version == 1 and size == len(data) and zero == 0 and header % PAGE == 0 and not any(data[48:64])
        assert checksum == xxhash.xxh3_64_intdigest(data[:40] + bytes(8) + data[48:header])
        self.entries, self.sections, end = [], {}, header
        for i in range(count):
            entry = data[64 + 64 * i:128 + 64 * i]
            offset, length, sum_ = struct.unpack_from("<QQQ", entry, 24)
            name = entry[:24].rstrip(b"\0").decode()
            padded = -(-length // PAGE) * PAGE
            assert offset == end and not any(entry[48:]), name
            assert sum_ == section_checksum(data[offset:offset + padded]), name
            assert not any(data[offset + length:offset + padded]), name
            self.entries.append((name, offset, length, sum_))
            self.sections[name] = data[offset:offset + length]
            end += padded
        assert end == size and not any(data[64 + 64 * count:header])

    def json(self, section):
        return json.loads(self.sections[section])

    def tensor(self, entry):
        """Row-major; bfloat16 as its bits."""
        stored = self.sections["weights"][entry["offset"]:entry["offset"] + entry["bytes"]]
        array = np.frombuffer(stored, DTYPES[entry["dtype"]])
        if entry["layout"] == "rows":
            return array.reshape(entry["shape"])
        assert entry["layout"] == "panels_16" and entry["dtype"] in ("f32", "f16", "bf16")
        n, k = entry["shape"]
        rows = array.reshape(-1, k, 16).transpose(0, 2, 1).reshape(-1, k)
        assert not rows[n:].any()
        return rows[:n]


def dump(file):
    def line(at, count, meaning):
        text = "".join(chr(c) if 32 <= c < 127 else "." for c in file.data[at:at + count])
        print(f"{at:08x}  {file.data[at:at + count].hex(' '):<72} {text:<24} {meaning}")

    line(0, 8, "magic")
    line(8, 4, "byte order")
    line(12, 4, "format version")
    line(16, 8, f"{len(file.data)} bytes")
    line(24, 8, f"{len(file.entries)} sections; zero")
    line(32, 8, "bytes of the header")
    line(40, 8, "checksum of the header")
    line(48, 16, "zero")
    for i, (name, offset, length, _) in enumerate(file.entries):
        at = 64 + 64 * i
        line(at, 24, "name")
        line(at + 24, 8, f"offset {offset}")
        line(at + 32, 8, f"{length} bytes")
        line(at + 40, 8, "checksum")
        line(at + 48, 16, "zero")
    for name, offset, length, _ in file.entries:
        print(f"section {name}")
        line(offset, min(24, length), "")
    for entry in file.json("tensors"):
        print(entry)


if __name__ == "__main__":
    dump(EngineFile(sys.argv[1]))
