#!/usr/bin/env python3
"""ONNX Runtime, OpenVINO and PyTorch, one engine a process: what bench/rivals.py times beside bertie.

    bench/rival_engines.py onnxruntime|openvino|pytorch FOLDER THREADS [--precision fp32|bf16|int8-dynamic|int8-static] [--calibration FILE.json]

Reads one JSON object a line, {"batches": [[ids of each sequence, ...], ...], "seconds": S, "limit": L, "save": FILE.npz}, and
answers {"ms": [...]}: the time of all batches one after the other, again and again for S seconds after a warm-up, at least 5
times unless that passes L seconds. Batches are padded to their longest sequence. With "save" it runs once and writes each
batch's hidden states.

Each engine gets what serves it best: a graph without a mask where no sequence is padded; ONNX Runtime the graph of its own
transformer optimiser, and one that was not fused is an error; OpenVINO a graph compiled for the case's shape. Where a case has
several shapes it gets one for all of them, which costs it 2 to 5% but spares a copy of the weights for each shape. PyTorch runs in
inference mode with its fused attention, query, key and value as one product; in fp32 alone.

bf16 is OpenVINO's hint; its executed graph must have products in it. Eight bits, weights by output channel; ONNX Runtime's in the linear layers alone, as bertie's are, NNCF's where it wants them:
    int8-dynamic  ONNX Runtime: quantize_dynamic on the fused graph, a scale for each activation tensor found as it runs.
    int8-static   Scales of activations from the texts of --calibration, ids of each in a JSON list. ONNX Runtime: quantize_static,
                  QDQ, minimum and maximum, on a graph whose attention is left in its parts, since QDQ knows none that is fused;
                  OpenVINO: NNCF, for transformers.
"""
import argparse
import collections
import contextlib
import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

from onnx_bert import build, encoder_weights

PRECISIONS = ("fp32", "bf16", "int8-dynamic", "int8-static")
UNTYPED = {"DefaultTensorType": onnx.TensorProto.FLOAT}  # of the results of fused nodes, whose types ONNX cannot tell
FEWEST_RUNS, WARM_UP_SECONDS = 5, 0.2


def padded(sequences, always_mask):
    """The inputs of one batch, i64 [B, S]; without attention_mask where nothing is padded, unless it is always wanted."""
    longest = max(map(len, sequences))
    ids, mask = np.zeros((2, len(sequences), longest), np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, :len(sequence)], mask[row, :len(sequence)] = sequence, 1
    inputs = {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}
    return inputs if mask.all() and not always_mask else inputs | {"attention_mask": mask}


class OnnxRuntime:
    def __init__(self, folder, threads, work, precision, texts):
        self.folder, self.threads, self.work, self.sessions = folder, threads, Path(work), {}
        self.precision, self.texts = precision, texts

    def prepare(self, inputs, _one_shape):
        """A function that runs these inputs; fuses the graph the first time."""
        import onnxruntime
        with_mask = "attention_mask" in inputs
        if with_mask not in self.sessions:
            path = self.work / f"fused-{'mask' if with_mask else 'no-mask'}.onnx"
            self.fuse(with_mask, path)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            options.log_severity_level = 3
            # Checked after its own optimisers have run too.
            options.optimized_model_filepath = str(self.work / "final.onnx")
            self.sessions[with_mask] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self.check(options.optimized_model_filepath)
            path.unlink()
            Path(options.optimized_model_filepath).unlink()
        session = self.sessions[with_mask]
        return lambda: session.run(None, inputs)[0]

    def fuse(self, with_mask, path):
        from onnxruntime.transformers.fusion_options import FusionOptions
        from onnxruntime.transformers.optimizer import optimize_model
        logging.disable(logging.WARNING)
        config, _ = encoder_weights(self.folder)
        plain = self.work / "plain.onnx"
        onnx.save(build(self.folder, with_mask), plain)
        fusions = FusionOptions("bert")
        fusions.enable_attention = self.precision != "int8-static"
        # opt_level=0: Python fusions only, the session does the rest.
        fused = optimize_model(str(plain), model_type="bert", num_heads=config["num_attention_heads"],
                               hidden_size=config["hidden_size"], opt_level=0, optimization_options=fusions)
        fused.save_model_to_file(str(plain))
        {"fp32": shutil.copyfile, "int8-dynamic": self.quantize_dynamic, "int8-static": self.quantize_static}[self.precision](
            plain, path)
        plain.unlink()

    def quantize_dynamic(self, fused, path):
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(fused, path, op_types_to_quantize=["MatMul", "Attention"], per_channel=True, weight_type=QuantType.QInt8,
                         extra_options=UNTYPED)

    def quantize_static(self, fused, path):
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
        # Types of what fused nodes give: what has none is left in fp32.
        model = SymbolicShapeInference.infer_shapes(onnx.load(fused), auto_merge=True)
        names = {port.name for port in model.graph.input}
        weights = {initializer.name for initializer in model.graph.initializer}
        linear = [node.name for node in model.graph.node if node.op_type == "MatMul" and weights & set(node.input)]
        batches = iter([{name: array for name, array in padded([text], True).items() if name in names} for text in self.texts])

        class Reader:
            def get_next(self):
                return next(batches, None)

        quantize_static(model, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax, nodes_to_quantize=linear,
                        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]})

    def check(self, path):
        config, _ = encoder_weights(self.folder)
        layers = config["num_hidden_layers"]
        expected = {"EmbedLayerNormalization": 1, "SkipLayerNormalization": 2 * layers, "BiasGelu": layers} | {
            "fp32": {"Attention": layers},
            "int8-dynamic": {"QAttention": layers},
            "int8-static": {}}[self.precision]
        ops = collections.Counter(node.op_type for node in onnx.load(path).graph.node)
        eight_bits = sum(ops[op] for op in ("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulInteger", "QLinearMatMul"))
        linear = {"fp32": 0, "int8-dynamic": 3 * layers, "int8-static": 6 * layers}[self.precision]
        if any(ops[op] != count for op, count in expected.items()) or eight_bits != linear:
            raise RuntimeError(f"ONNX Runtime's graph is not fused: {dict(ops)}, expected {expected} and {linear} products of eight bits")
        self.ops = dict(ops)

    def description(self):
        import onnxruntime
        return {"version": onnxruntime.__version__, "graph": self.ops}


class OpenVino:
    def __init__(self, folder, threads, work, precision, texts):
        import openvino
        self.precision, self.texts = precision, texts
        self.folder, self.threads, self.work = folder, threads, Path(work)
        self.core, self.compiled = openvino.Core(), {}

    def prepare(self, inputs, one_shape):
        """A function that runs these inputs; compiles the graph the first time, for their shape or for all."""
        shape, with_mask = inputs["input_ids"].shape if one_shape else None, "attention_mask" in inputs
        if (shape, with_mask) not in self.compiled:
            path = self.work / f"{'mask' if with_mask else 'no-mask'}.onnx"
            if not path.exists():
                onnx.save(build(self.folder, with_mask), path)
            model = self.core.read_model(path)
            if self.precision == "int8-static":
                model = self.quantize(model, with_mask)
            if one_shape:
                model.reshape({port.any_name: list(shape) for port in model.inputs})
            self.compiled[shape, with_mask] = self.core.compile_model(model, "CPU", {
                "INFERENCE_NUM_THREADS": self.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32"})
        compiled = self.compiled[shape, with_mask]
        self.last = compiled
        request = compiled.create_infer_request()
        return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)[compiled.output(0)]

    def quantize(self, model, with_mask):
        import nncf
        names = {port.any_name for port in model.inputs}
        batches = [{name: array for name, array in padded([text], True).items() if name in names} for text in self.texts]
        with contextlib.redirect_stdout(sys.stderr):  # its progress
            return nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches), model_type=nncf.ModelType.TRANSFORMER)

    def description(self):
        import openvino
        # As executed: what the plugin fused, and the precision of each node.
        nodes = [node.get_rt_info() for node in self.last.get_runtime_model().get_ops()]
        kinds = collections.Counter(str(info["layerType"].astype(str)) for info in nodes)
        precisions = collections.Counter(info["runtimePrecision"].astype(str) for info in nodes
                                         if info["layerType"].astype(str) in ("FullyConnected", "MatMul", "Subgraph"))
        eight_bits = precisions["u8"] + precisions["i8"]
        wanted = {"f32"} | {"fp32": set(), "bf16": {"bf16"}}.get(self.precision, {"u8", "i8"})
        if set(precisions) - wanted or bool(eight_bits) != self.precision.startswith("int8") or (self.precision == "bf16") != (
                precisions["bf16"] > 0):
            raise RuntimeError(f"OpenVINO runs in other precisions than {self.precision}: {dict(precisions)}")
        return {"version": openvino.__version__.split("-")[0], "graph": dict(kinds)}


class PyTorch:
    def __init__(self, folder, threads, _work, _precision, _texts):
        import torch
        torch.set_num_threads(threads)
        self.config, arrays = encoder_weights(folder)
        self.weights = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        for layer in range(self.config["num_hidden_layers"]):
            own = f"encoder.layer.{layer}.attention.self."
            for part in ("weight", "bias"):
                self.weights[f"{own}qkv.{part}"] = torch.cat([self.weights[f"{own}{name}.{part}"] for name in ("query", "key", "value")])

    def prepare(self, inputs, _one_shape):
        import torch
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}

        def run():
            with torch.inference_mode():
                return self.forward(**tensors).numpy()
        return run

    def forward(self, input_ids, token_type_ids, attention_mask=None):
        from torch.nn import functional
        batch, sequence = input_ids.shape
        hidden, heads = self.config["hidden_size"], self.config["num_attention_heads"]

        def linear(name, x):
            return functional.linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

        def layer_norm(name, x):
            return functional.layer_norm(x, (hidden,), self.weights[name + ".weight"], self.weights[name + ".bias"],
                                         self.config["layer_norm_eps"])

        table = {name: self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")}
        x = layer_norm("embeddings.LayerNorm", functional.embedding(input_ids, table["word"]) + table["position"][:sequence]
                       + functional.embedding(token_type_ids, table["token_type"]))
        mask = None if attention_mask is None else attention_mask[:, None, None, :] != 0
        for layer in range(self.config["num_hidden_layers"]):
            own = f"encoder.layer.{layer}."
            q, k, v = linear(own + "attention.self.qkv", x).view(batch, sequence, 3, heads, -1).permute(2, 0, 3, 1, 4)
            context = functional.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).reshape(batch, sequence, hidden)
            x = layer_norm(own + "attention.output.LayerNorm", linear(own + "attention.output.dense", context) + x)
            wide = functional.gelu(linear(own + "intermediate.dense", x))
            x = layer_norm(own + "output.LayerNorm", linear(own + "output.dense", wide) + x)
        return x

    def description(self):
        import torch
        return {"version": torch.__version__.split("+")[0]}


def measure(runs, seconds, limit):
    def run_all():
        begin = time.perf_counter()
        for run in runs:
            run()
        return (time.perf_counter() - begin) * 1e3

    # It ran before, to be compared: where one run passes the limit, the first counts.
    start, times = time.perf_counter(), [run_all()]
    if time.perf_counter() - start < limit:
        while time.perf_counter() - start < min(WARM_UP_SECONDS, seconds):
            run_all()
        start, times = time.perf_counter(), []
        while not times or (time.perf_counter() - start < limit
                            and (len(times) < FEWEST_RUNS or time.perf_counter() - start < seconds)):
            times.append(run_all())
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("engine", choices=["onnxruntime", "openvino", "pytorch"])
    parser.add_argument("folder")
    parser.add_argument("threads", type=int)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--calibration", help="a JSON list of the ids of each text")
    arguments = parser.parse_args()
    kind = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "pytorch": PyTorch}[arguments.engine]
    with tempfile.TemporaryDirectory() as work:
        texts = json.loads(Path(arguments.calibration).read_text()) if arguments.calibration else []
        engine, prepared = kind(arguments.folder, arguments.threads, work, arguments.precision, texts), {}
        for line in sys.stdin:
            request = json.loads(line)
            # The engine's request objects stay alive for each case, as a server's would.
            key = json.dumps(request["batches"])
            if key not in prepared:
                several = len(request["batches"]) > 1
                prepared[key] = [engine.prepare(padded(batch, several), not several) for batch in request["batches"]]
            if "save" in request:
                np.savez(request["save"], *(run() for run in prepared[key]))
                answer = engine.description()
            else:
                answer = {"ms": measure(prepared[key], request["seconds"], request["limit"])}
            print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
