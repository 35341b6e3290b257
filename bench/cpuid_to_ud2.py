#!/usr/bin/env python3
"""Where a CPU does not let CPUID trap (bench/avx2_only.c): replaces it by UD2, which always does, in a copy of a rival's library.

    cp -r .venv/lib/python3*/site-packages/onnxruntime COPY/
    bench/cpuid_to_ud2.py COPY/onnxruntime/capi/onnxruntime_pybind11_state*.so
    LD_PRELOAD=$PWD/avx2_only.so PYTHONPATH=COPY BERTIE_ISA=avx2 .venv/bin/python bench/rivals.py --precisions int8
"""

import re
import subprocess
import sys
from pathlib import Path

CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"

for path in map(Path, sys.argv[1:]):
    headers = subprocess.run(["objdump", "-h", path], check=True, capture_output=True, text=True).stdout
    _, start, _, offset = (int(field, 16) for field in re.search(r"\.text" + r"\s+(\w+)" * 4, headers).groups())
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], check=True, capture_output=True, text=True).stdout
    code, count = bytearray(path.read_bytes()), 0
    for address in re.findall(r"^ *(\w+):\tcpuid", listing, re.MULTILINE):
        at = int(address, 16) - start + offset
        assert code[at:at + 2] == CPUID, f"{path}: {address} is no cpuid"
        code[at:at + 2] = UD2
        count += 1
    path.write_bytes(code)
    print(f"{path}: {count} replaced")
