#!/usr/bin/env python3
"""Engine files against a reader written from their description (tools/engine_file.py): every checksum, and every weight against
the checkpoint's own.

    engine_file_parity.py PATH_OF_BERTIE
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import xxhash
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from engine_file import EngineFile  # noqa: E402


def checkpoint(folder):
    with safe_open(folder / "model.safetensors", "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def check(bertie, folder, work):
    path = Path(work) / "x.bertie"
    subprocess.run([bertie, "build", folder, "-o", path], check=True)
    file = EngineFile(path)
    tensors = {entry["name"]: file.tensor(entry) for entry in file.json("tensors")}
    packed = sum(entry["layout"] == "panels_16" for entry in file.json("tensors"))
    weights = checkpoint(folder)

    def stored(name):  # checkpoints with a head put "bert." before the encoder's names
        return weights[name] if name in weights else weights["bert." + name]

    compared = 0
    for name, values in tensors.items():
        if name.endswith((".qkv.weight", ".qkv.bias")):
            prefix = name.rsplit(".qkv.", 1)[0]
            expected = np.concatenate([stored(f"{prefix}.{part}.{name.rsplit('.', 1)[1]}") for part in ("query", "key", "value")])
        else:
            expected = stored(name)
        np.testing.assert_array_equal(values.astype(np.float32), expected.astype(np.float32), err_msg=name)
        compared += 1
    for source in file.json("provenance")["sources"]:
        data = (folder / source["file"]).read_bytes()
        assert (len(data), xxhash.xxh3_128_hexdigest(data)) == (source["bytes"], source["xxh3_128"]), source
    print(f"{folder.name}: {compared} tensors equal, {packed} of them packed")
    assert compared > 10 and packed > 4


def main():
    with tempfile.TemporaryDirectory() as work:
        check(sys.argv[1], ROOT / "models" / "minilm-l6-mlm", work)
        check(sys.argv[1], ROOT / "tests" / "data" / "families" / "bert_token", work)


if __name__ == "__main__":
    main()
