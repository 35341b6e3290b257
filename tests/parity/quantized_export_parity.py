#!/usr/bin/env python3
"""Exported ONNX files of a calibrated model, in ONNX Runtime, against `bertie run --calibration` on the same ids.

Both quantise alike, so that they differ where a sum rounds otherwise and a value falls to the next integer; so do two devices of bertie,
and ONNX Runtime with and without optimisations. The bundled model's logits are held to a share of what int8 loses and their top words to
agreement, padding and holes among the rows; the network holds QuantizeLinear and DequantizeLinear around every layer of the
calibration, and stores its weights in eight bits. Read by bertie it is the plan that was exported.

usage: quantized_export_parity.py BERTIE
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "minilm-l6-mlm"
TEXTS = ROOT / "tests" / "data" / "calibration.txt"
OPSETS = (13, 17, 21)
BOUND = 0.5  # of the distance between int8 and fp32, Frobenius norms of the logits
AGREEMENT = 0.99
READ_AGAIN_BOUND = 0.02
# Of calibration: scales alone; migration, shift and corrected biases too.
METHODS = {"plain": ["--migration", "off", "--shift", "none"], "whole": []}
HAS_VNNI = bool({"avx512_vnni", "avx_vnni"} & set(Path("/proc/cpuinfo").read_text().split()))


def run_onnxruntime(path, feed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not HAS_VNNI:  # its fused products would add two of u8 and s8 in 16 bits, which saturate
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {i.name: feed[i.name] for i in session.get_inputs()})[0]


def run_bertie(bertie, flags, feed, work, model=MODEL):
    command = [bertie, "run", str(model), "--output-dir", str(work / "out"), *flags]
    for key, value in feed.items():
        numpy.save(work / f"{key}.npy", value)
        command += ["--input", f"{key}={work / key}.npy"]
    subprocess.run(command, check=True)
    return numpy.load(work / "out" / "logits.npy")


def ids_of(bertie):
    """Lines of real text, padded on the right, one with holes in its mask."""
    lines = TEXTS.read_text().splitlines()[-8:]
    rows = []
    for line in lines:
        printed = subprocess.run([bertie, "tokenize", str(MODEL), "--text", line, "--json"], check=True, capture_output=True, text=True)
        rows.append(json.loads(printed.stdout.splitlines()[0])["ids"][:64])
    length = max(map(len, rows))
    ids = numpy.array([row + [0] * (length - len(row)) for row in rows], numpy.int64)
    mask = numpy.array([[1] * len(row) + [0] * (length - len(row)) for row in rows], numpy.int64)
    mask[1, 2:4] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}


def check_form(path, layers):
    model = onnx.load(path)
    producers = {output: node for node in model.graph.node for output in node.output}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    pairs = 0
    for node in model.graph.node:
        if node.op_type != "MatMul" or not all(i in producers for i in node.input):
            continue
        x, weight = (producers[name] for name in node.input)
        if weight.op_type != "DequantizeLinear":
            continue
        assert x.op_type == "DequantizeLinear" and producers[x.input[0]].op_type == "QuantizeLinear", node.name
        assert x.input[1:] == producers[x.input[0]].input[1:], f"{node.name}: two scales"
        assert stored[weight.input[0]].data_type == onnx.TensorProto.INT8, node.name
        pairs += 1
    assert pairs == layers, f"{path}: {pairs} products in eight bits, {layers} layers in the calibration"


def check(bertie, work):
    feed = ids_of(bertie)
    attended = feed["attention_mask"].astype(bool)
    failures = []
    for method, flags in METHODS.items():
        cache = work / f"{method}.json"
        command = [bertie, "calibrate", str(MODEL), "--data", str(TEXTS), "--max-texts", "16", "-o", str(cache), *flags]
        subprocess.run(command, check=True, capture_output=True)
        layers = json.loads(cache.read_text())["layers"]
        expected = run_bertie(bertie, ["--calibration", str(cache)], feed, work)[attended]
        exact = run_bertie(bertie, [], feed, work)[attended]
        for opset in OPSETS:
            path = work / f"{method}.{opset}.onnx"
            command = [bertie, "export", str(MODEL), "-o", str(path), "--opset", str(opset), "--calibration", str(cache)]
            subprocess.run(command, check=True)
            onnx.checker.check_model(str(path), full_check=True)
            check_form(path, len(layers))
            # Read again it is the same plan: of factors by column, rounded to be written, a value near a tie may tell.
            back = run_bertie(bertie, [], feed, work, path)[attended]
            error = numpy.linalg.norm(back - expected) / numpy.linalg.norm(exact)
            print(f"{method}, opset {opset}, read again: {error:.2g} of the logits apart")
            if not error <= READ_AGAIN_BOUND or (back.argmax(-1) == expected.argmax(-1)).mean() < AGREEMENT:
                failures.append(f"{method}, opset {opset}: read again {error:.2g} apart")
            result = run_onnxruntime(path, feed)[attended]
            error = numpy.linalg.norm(result - expected) / numpy.linalg.norm(exact)
            agreement = (result.argmax(-1) == expected.argmax(-1)).mean()
            lost = numpy.linalg.norm(expected - exact) / numpy.linalg.norm(exact)
            line = f"{method}, opset {opset}: {error:.2g} of the logits apart (int8 from fp32 {lost:.2g}), top words agree {agreement:.4f}"
            print(line)
            if not (error <= BOUND * lost and agreement >= AGREEMENT):
                failures.append(line)
    command = [bertie, "export", str(MODEL), "-o", str(work / "old.onnx"), "--opset", "12", "--calibration", str(cache)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode != 0 and "needs opset 13" in refused.stderr, refused.stderr
    first = next(iter(layers))
    command = [bertie, "export", str(MODEL), "-o", str(work / "few.onnx"), "--calibration", str(cache), "--layer-precision"]
    subprocess.run([*command, f"{first}=fp32"], check=True)
    check_form(work / "few.onnx", len(layers) - 1)
    return failures


def main():
    with tempfile.TemporaryDirectory() as work:
        failures = check(sys.argv[1], Path(work))
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
