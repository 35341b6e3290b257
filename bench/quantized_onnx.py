#!/usr/bin/env python3
"""Files quantised by ONNX Runtime and by NNCF, in bertie and in ONNX Runtime: the same file, threads and inputs; Markdown tables.

    bench/quantized_onnx.py [--bertie PROGRAM] [--models minilm base] [--kinds static dynamic ...] [--cases 8x128 ...] [--threads 2]
                            [--seconds 1] [--rounds 3] [--accuracy]

minilm is the bundled model's encoder, base one of BERT-base's size with random weights, as `bertie export` writes them. Kinds:

  static         quantize_static, u8 activations, i8 weights by channel, pairs around products by weights alone (attention in floats)
  static-all     the same around all products, of attention too
  dynamic        quantize_dynamic, i8 weights by channel
  nncf           nncf.quantize with SmoothQuant

A time is the median of the rounds' medians, engines in turns. --accuracy instead: the bundled model with its head, each kind of file against its
folder on tests/data/evaluation.txt by `bertie compare`.
"""
import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from models import BUNDLED, ROOT, model_folder, token_ids
from rival_engines import measure, padded

CALIBRATION_TEXTS = 64
KINDS = ("static", "static-all", "dynamic", "nncf")


def feeds(bertie):
    for ids in token_ids(bertie, BUNDLED, ROOT / "tests" / "data" / "calibration.txt", CALIBRATION_TEXTS):
        yield padded([ids[:128]], True)


class Reader(CalibrationDataReader):
    def __init__(self, batches):
        self.batches = iter(batches)

    def get_next(self):
        return next(self.batches, None)


def quantize(kind, source, path, batches):
    model = onnx.load(source)
    weights = {tensor.name for tensor in model.graph.initializer}
    products = [node.name for node in model.graph.node if node.op_type in ("MatMul", "Gemm") and (kind == "static-all" or node.input[1] in weights)]
    if kind == "nncf":
        import nncf
        nncf.set_log_level(logging.ERROR)
        onnx.save(nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches), model_type=nncf.ModelType.TRANSFORMER), path)
    elif kind == "dynamic":
        quantize_dynamic(str(source), str(path), per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    else:
        quantize_static(str(source), str(path), Reader(batches), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8, nodes_to_quantize=products, extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]})


def folded(source, path):
    """Transposed weights as they are multiplied: the quantiser takes only initializers for weights."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def runtime_time(path, batch, length, threads, seconds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ids = np.random.default_rng([3, batch, length]).integers(1000, 30000, (batch, length)).astype(np.int64)
    feed = padded(ids.tolist(), True)
    feed = {port.name: feed[port.name] for port in session.get_inputs()}
    return statistics.median(measure([lambda: session.run(None, feed)], seconds, float("inf")))


def bertie_time(bertie, path, batch, length, threads, seconds):
    command = [bertie, "bench", str(path), "--batch", str(batch), "--sequence", str(length), "--threads", str(threads), "--seconds", str(seconds), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])["p50_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bertie", default=str(ROOT / "build" / "bertie"))
    parser.add_argument("--models", nargs="+", default=["minilm", "base"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--cases", nargs="*", default=["1x128", "8x128"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--work", type=Path, help="keep the files there, and use those that are")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        for name in ["bundled"] if options.accuracy else options.models:
            folder = BUNDLED if options.accuracy else model_folder(name, work)
            files = {kind: made(kind, options.bertie, folder, work / f"{name}-files") for kind in options.kinds}
            if options.accuracy:
                accuracy(options, folder, files)
            else:
                speed(options, name, files)
    return 0


def made(kind, bertie, folder, work):
    work.mkdir(parents=True, exist_ok=True)
    source, path = work / "float.onnx", work / f"{kind}.onnx"
    if not source.exists():
        subprocess.run([bertie, "export", str(folder), "-o", str(work / "exported.onnx")], check=True)
        folded(work / "exported.onnx", source)
    if not path.exists():
        quantize(kind, source, path, list(feeds(bertie)))
    return path


def speed(options, name, files):
    print(f"| {name} | batch x length | bertie ms | ONNX Runtime ms | ratio |\n|---|---|---|---|---|")
    for kind, path in files.items():
        for case in options.cases:
            batch, length = map(int, case.split("x"))
            setting = (path, batch, length, options.threads, options.seconds)
            rounds = [(bertie_time(options.bertie, *setting), runtime_time(*setting)) for _ in range(options.rounds)]
            ours, theirs = (statistics.median(times) for times in zip(*rounds))
            print(f"| {kind} | {case} | {ours:.3g} | {theirs:.3g} | {statistics.median(b / a for a, b in rounds):.2f}x |", flush=True)


def accuracy(options, folder, files):
    print("| file | agreement | where fp32 leads | loss |\n|---|---|---|---|")
    for kind, path in files.items():
        for precision in ("int8", "fp32"):
            command = [options.bertie, "compare", str(folder), f"{path},precision={precision},tokenizer={folder}", "--data",
                       str(ROOT / "tests" / "data" / "evaluation.txt"), "--threads", str(options.threads), "--json"]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"| {kind}, {precision} | {result['agreement']:.2%} | {result.get('agreement_led', 0):.2%} | {result['loss']:+.4f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
