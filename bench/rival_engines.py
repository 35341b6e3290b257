#!/usr/bin/env python3
"""ONNX Runtime and OpenVINO in fp32, one engine a process: what bench/rivals.py times beside bertie.

    bench/rival_engines.py onnxruntime|openvino FOLDER THREADS

Reads one JSON object a line, {"batches": [[ids of each sequence, ...], ...], "seconds": S, "save": FILE.npz}, and answers
{"ms": [...]}: the time of all batches one after the other, again and again for S seconds after a warm-up, at least 5 times.
Batches are padded to their longest sequence. With "save" it runs once and writes each batch's hidden states.

Each engine gets what serves it best: a graph without a mask where no sequence is padded; ONNX Runtime the graph of its own
transformer optimiser, and one that was not fused is an error; OpenVINO a graph compiled for the case's shape. Where a case has
several shapes it gets one for all of them, which costs it 2 to 5% but spares a copy of the weights for each shape.
"""
import argparse
import collections
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

from onnx_bert import build, encoder_weights

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
    def __init__(self, folder, threads, work):
        self.folder, self.threads, self.work, self.sessions = folder, threads, Path(work), {}

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
        from onnxruntime.transformers.optimizer import optimize_model
        logging.disable(logging.WARNING)
        config, _ = encoder_weights(self.folder)
        plain = self.work / "plain.onnx"
        onnx.save(build(self.folder, with_mask), plain)
        # opt_level=0: Python fusions only, the session does the rest.
        fused = optimize_model(str(plain), model_type="bert", num_heads=config["num_attention_heads"],
                               hidden_size=config["hidden_size"], opt_level=0)
        fused.save_model_to_file(str(path))
        plain.unlink()

    def check(self, path):
        config, _ = encoder_weights(self.folder)
        layers = config["num_hidden_layers"]
        expected = {"EmbedLayerNormalization": 1, "Attention": layers, "SkipLayerNormalization": 2 * layers, "BiasGelu": layers}
        ops = collections.Counter(node.op_type for node in onnx.load(path).graph.node)
        if any(ops[op] != count for op, count in expected.items()):
            raise RuntimeError(f"ONNX Runtime's graph is not fused: {dict(ops)}, expected {expected}")
        self.ops = dict(ops)

    def description(self):
        import onnxruntime
        return {"version": onnxruntime.__version__, "graph": self.ops}


class OpenVino:
    def __init__(self, folder, threads, work):
        import openvino
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
            if one_shape:
                model.reshape({port.any_name: list(shape) for port in model.inputs})
            self.compiled[shape, with_mask] = self.core.compile_model(model, "CPU", {
                "INFERENCE_NUM_THREADS": self.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"})
        compiled = self.compiled[shape, with_mask]
        self.last = compiled
        request = compiled.create_infer_request()
        return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)[compiled.output(0)]

    def description(self):
        import openvino
        # As executed: what the plugin fused, and the precision of each node.
        nodes = [node.get_rt_info() for node in self.last.get_runtime_model().get_ops()]
        kinds = collections.Counter(str(info["layerType"].astype(str)) for info in nodes)
        precisions = collections.Counter(info["runtimePrecision"].astype(str) for info in nodes
                                         if info["layerType"].astype(str) in ("FullyConnected", "MatMul", "Subgraph"))
        if set(precisions) - {"f32"}:
            raise RuntimeError(f"OpenVINO runs in other precisions than f32: {dict(precisions)}")
        return {"version": openvino.__version__.split("-")[0], "graph": dict(kinds)}


def measure(runs, seconds):
    def run_all():
        for run in runs:
            run()

    start = time.perf_counter()
    run_all()
    while time.perf_counter() - start < min(WARM_UP_SECONDS, seconds):
        run_all()
    times, start = [], time.perf_counter()
    while len(times) < FEWEST_RUNS or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        run_all()
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("engine", choices=["onnxruntime", "openvino"])
    parser.add_argument("folder")
    parser.add_argument("threads", type=int)
    arguments = parser.parse_args()
    kind = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}[arguments.engine]
    with tempfile.TemporaryDirectory() as work:
        engine, prepared = kind(arguments.folder, arguments.threads, work), {}
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
                answer = {"ms": measure(prepared[key], request["seconds"])}
            print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
