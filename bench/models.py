"""The encoders that bench/rivals.py times, as Hugging Face folders; and the texts."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from make_checkpoint import BUNDLED, TOKENIZER_FILES, make_checkpoint, write_safetensors  # noqa: E402

from onnx_bert import encoder_weights  # noqa: E402


def bundled_encoder(folder):
    """The bundled model without its head, in float16 as it is: every engine computes with these very numbers, in float32 where asked."""
    folder.mkdir(parents=True)
    config, weights = encoder_weights(BUNDLED)
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"], "dtype": "float16"}))
    for name in TOKENIZER_FILES:
        shutil.copyfile(BUNDLED / name, folder / name)
    write_safetensors(folder / "model.safetensors", [(n, w.shape, lambda w=w: w) for n, w in weights.items()], "f16")


MODELS = {
    "minilm": ("MiniLM, 6 layers of 384", bundled_encoder),
    "base": ("BERT-base, 12 layers of 768", lambda folder: make_checkpoint("base", folder)),
    "large": ("BERT-large, 24 layers of 1024", lambda folder: make_checkpoint("large", folder)),
}


def model_folder(name, work):
    """Made once for each version of its maker."""
    sources = (ROOT / "tools" / "make_checkpoint.py", Path(__file__))
    maker = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
    folder = work / f"{name}-{maker}"
    if not folder.exists():
        part = work / f"{folder.name}.{os.getpid()}"
        MODELS[name][1](part)
        os.rename(part, folder)
    return folder


def token_ids(program, folder, path, lines):
    """Ids of the first lines of a text file, special tokens included."""
    text = "".join(line + "\n" for line in Path(path).read_text().split("\n")[:lines])
    rows = subprocess.run([program, "tokenize", folder, "--json"], input=text, capture_output=True, text=True, check=True).stdout
    return [json.loads(row)["ids"] for row in rows.splitlines()]
