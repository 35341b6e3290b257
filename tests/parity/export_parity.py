#!/usr/bin/env python3
"""Exported ONNX files against the checker of the onnx package and another runtime.

Every folder of tests/data/families is exported and run on its golden's inputs, which must give the golden (Hugging Face's own
outputs), and on left padding and holes, which must give what `bertie run` gives. The hand-built networks of export_probe must give
what the reference backend gives, and come out at every opset.

usage: export_parity.py onnxruntime|openvino BERTIE EXPORT_PROBE
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
from safetensors.numpy import load_file

FAMILIES = Path(__file__).resolve().parents[1] / "data" / "families"
BOUND = 1e-5  # relative Frobenius error
OPSETS = range(11, 24)
# Exported at every opset, not at 17 alone.
EVERY_OPSET = ("bert_masked", "mpnet_model", "roberta_sequence", "albert_model_groups", "sentence_max_dense_normalize")
COUNTS_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
# OpenVINO 2026.4 reduces everything here, whatever the axes say, at opsets 13 to 17.
WRONG_IN_OPENVINO = {f"reduce {name}{axes}" for name in ("l1", "log_sum", "log_sum_exp") for axes in ("", ".2")}
# What an opset has no words for.
REFUSED = {"whole_extremes": 12, "by_channel": 13}


def run_onnxruntime(path, feed):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    assert {i.name for i in session.get_inputs()} <= set(feed), f"{path}: inputs {[i.name for i in session.get_inputs()]}"
    results = session.run(None, {i.name: feed[i.name] for i in session.get_inputs()})
    return dict(zip([o.name for o in session.get_outputs()], results))


def run_openvino(path, feed):
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = model({i.any_name: feed[i.any_name] for i in model.inputs})
    # A port has the names of all the values that OpenVINO found to be one.
    wanted = {output.name for output in onnx.load(path).graph.output}
    return {name: results[output] for output in model.outputs for name in wanted & output.names}


def expect_near(where, result, expected):
    result, expected = numpy.asarray(result, numpy.float64), numpy.asarray(expected, numpy.float64)
    assert result.shape == expected.shape, f"{where}: shape {result.shape}, not {expected.shape}"
    error = numpy.linalg.norm(result - expected) / max(numpy.linalg.norm(expected), 1e-30)
    assert error <= BOUND, f"{where}: relative error {error:.2e}"


def attended(value, mask):
    """The values at attended places; what has one row a sequence counts wherever the sequence has a token, column 0 masked or not."""
    return value[mask.astype(bool)] if value.shape[:2] == mask.shape else value[mask.any(axis=1)]


def check_names(path, folder, opset):
    """Weights carry the checkpoint's names; every op is ONNX's own, every extent that varies is symbolic."""
    model = onnx.load(path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    stored = set()
    for file in folder.rglob("*.safetensors"):
        stored |= names_of(file)
    stored |= {name.replace("gamma", "weight").replace("beta", "bias") for name in stored}
    derived = ("qa_outputs.", "encoder.relative_attention_bias")
    for tensor in model.graph.initializer:
        small = tensor.name.startswith(("i64", "f32"))
        assert small or tensor.name in stored or tensor.name.startswith(derived), f"{path}: initialiser {tensor.name}"
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        assert [d.dim_param for d in dims] == ["batch", "sequence"], f"{path}: input {value.name}"


def names_of(path):
    """Without the tensors: NumPy lacks bfloat16."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return set(json.loads(file.read(length)))


def other_masks(name, golden, random):
    """Left padding, holes and full rows, on random ids."""
    vocabulary = 60
    mask = numpy.array([[0, 0, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0, 1, 0], [1] * 8, [0, 0, 0, 0, 0, 1, 1, 0]], numpy.int64)
    ids = random.integers(4, vocabulary, mask.shape)
    if name.startswith(COUNTS_POSITIONS) or name == "legacy_roberta_decoder":
        ids = numpy.where(mask == 0, 1, ids)
    inputs = dict(input_ids=ids, attention_mask=mask)
    if "token_type_ids" in golden:
        inputs["token_type_ids"] = random.integers(0, 2, mask.shape) * int(golden["token_type_ids"].any())
    return inputs


def run_bertie(bertie, folder, inputs, work):
    command = [bertie, "run", str(folder), "--output-dir", str(work / "out")]
    for key, value in inputs.items():
        numpy.save(work / f"{key}.npy", value)
        command += ["--input", f"{key}={work / key}.npy"]
    subprocess.run(command, check=True)
    return {path.stem: numpy.load(path) for path in (work / "out").glob("*.npy")}


def check_folder(run, bertie, folder, opset, work):
    for old in (work / "out").glob("*.npy"):
        old.unlink()
    path = work / "model.onnx"
    subprocess.run([bertie, "export", str(folder), "-o", str(path), "--opset", str(opset)], check=True)
    onnx.checker.check_model(str(path), full_check=True)
    check_names(path, folder, opset)
    golden = load_file(folder / "golden.safetensors")
    inputs = {key: value for key, value in golden.items() if key in ("input_ids", "attention_mask", "token_type_ids")}
    results = run(path, inputs)
    where = f"{folder.name} at opset {opset}"
    compared = 0
    for key, value in results.items():
        if key not in golden:
            continue
        compared += 1
        mask = inputs["attention_mask"]
        expect_near(f"{where}: {key}", attended(value, mask), attended(golden[key], mask))
    assert compared == len(golden.keys() & {"last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits",
                                            "sentence_embedding"}), f"{where}: outputs {list(results)}"
    inputs = other_masks(folder.name, golden, numpy.random.default_rng(opset))
    results, expected = run(path, inputs), run_bertie(bertie, folder, inputs, work)
    assert results.keys() == expected.keys(), f"{where}: outputs {list(results)}"
    for key, value in results.items():
        mask = inputs["attention_mask"]
        expect_near(f"{where}, other masks: {key}", attended(value, mask), attended(expected[key], mask))


def check_options(run, bertie, work):
    """position_ids as an input, weights in a file of their own, the demo, and the same bytes twice."""
    folder = FAMILIES / "roberta_masked"
    golden = load_file(folder / "golden.safetensors")
    first, second = work / "first.onnx", work / "second.onnx"
    for path in (first, second):
        subprocess.run([bertie, "export", str(folder), "-o", str(path), "--position-ids", "--demo", str(work / "demo")], check=True)
    assert first.read_bytes() == second.read_bytes(), "two exports differ"
    results = run(first, golden)
    mask = golden["attention_mask"]
    expect_near("position_ids", attended(results["logits"], mask), attended(golden["logits"], mask))
    demo = {path.stem: numpy.load(path) for path in (work / "demo").glob("*.npy")}
    assert {"input_ids", "attention_mask", "position_ids"} <= demo.keys() and 0 in demo["attention_mask"], list(demo)
    for key, value in run(first, demo).items():
        expect_near(f"demo {key}", attended(value, demo["attention_mask"]), attended(demo[key], demo["attention_mask"]))


def check_probe(run, probe, opset, work):
    printed = subprocess.run([probe, str(opset), str(work)], check=True, capture_output=True, text=True).stdout
    refused = {line.split()[1].rstrip(":") for line in printed.splitlines()}
    assert refused == {case for case, oldest in REFUSED.items() if opset < oldest}, f"opset {opset}: {printed}"
    for path in sorted(work.glob("*.onnx")):
        onnx.checker.check_model(str(path), full_check=True)
        read = lambda kind: {file.name.removeprefix(f"{path.stem}.{kind}.").removesuffix(".npy"): numpy.load(file)
                             for file in work.glob(f"{path.stem}.{kind}.*.npy")}
        results, expected = run(path, read("input")), read("output")
        for key, value in expected.items():
            if run is run_openvino and opset in range(13, 18) and f"{path.stem} {key}" in WRONG_IN_OPENVINO:
                continue
            result = next(results[name] for name in results if name.replace("/", "_") == key)
            assert result.dtype == value.dtype or run is run_openvino, f"{path.stem} {key}: {result.dtype}, not {value.dtype}"
            expect_near(f"{path.stem} at opset {opset}: {key}", result, value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runtime", choices=("onnxruntime", "openvino"))
    parser.add_argument("bertie")
    parser.add_argument("probe")
    arguments = parser.parse_args()
    run = run_onnxruntime if arguments.runtime == "onnxruntime" else run_openvino
    folders = sorted(path.parent for path in FAMILIES.glob("*/golden.safetensors"))
    failures, done = [], 0

    def attempt(check, *parameters):
        nonlocal done
        with tempfile.TemporaryDirectory() as work:
            try:
                check(run, *parameters, Path(work))
            except (AssertionError, subprocess.CalledProcessError, RuntimeError, onnx.checker.ValidationError) as error:
                failures.append(str(error))
        done += 1

    for opset in OPSETS:
        attempt(check_probe, arguments.probe, opset)
    for folder in folders:
        for opset in OPSETS if folder.name in EVERY_OPSET and run is run_onnxruntime else (17,):
            attempt(check_folder, arguments.bertie, folder, opset)
    attempt(check_options, arguments.bertie)
    for failure in failures:
        print("FAILED", failure[:600])
    print(f"{done - len(failures)} of {done} exports agree")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
