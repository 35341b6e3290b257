#!/usr/bin/env python3
"""Writes tests/data/onnx/: one tiny random checkpoint a family and head, and what real exporters make of it.

    tests/data/onnx/checkpoints/NAME/     the Hugging Face folder: config.json, model.safetensors (float32)
    tests/data/onnx/VARIANT/NAME.onnx     that checkpoint as one exporter spells it
    tests/data/onnx/VARIANT/NAME.golden.safetensors
                                          `input.N` and `output.N` for each of the file's inputs and outputs N, as ONNX Runtime
                                          computes them with its graph optimiser off

Every batch holds a full row, right padding, left padding, holes and a row of one token. Masked places hold arbitrary ids
(padding's own in the families that count positions by id), so that an implementation that reads them is found out.

The exporters need two environments, for TensorFlow and PyTorch pin other versions of the rest:

    pip install torch==2.9.1 transformers==4.57.6 optimum-onnx==0.1.0 sentence-transformers==5.1.2 onnx onnxruntime onnxscript
    python tools/golden/make_onnx_variants.py checkpoints torchscript dynamo optimum runtime quantized
    pip install tensorflow==2.15.1 transformers==4.41.2 tf2onnx==1.16.1 onnx==1.16.2 onnxruntime==1.18.1
    python tools/golden/make_onnx_variants.py tensorflow

Versions that made the committed files stand in tests/data/onnx/README.md. Nothing is fetched: all weights are random.
"""

import os
import shutil
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", TF_USE_LEGACY_KERAS="1")

import numpy
import onnx
import onnxruntime
import transformers
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2] / "tests" / "data" / "onnx"
CHECKPOINTS = ROOT / "checkpoints"
VOCABULARY, POSITIONS, WIDTH, HEADS, FEED_FORWARD = 64, 40, 24, 3, 40
EAGER_ONLY = ("electra", "mpnet")  # as of transformers 4.57
# family -> (class prefix, fields of its config)
FAMILIES = {
    "bert": ("Bert", dict(hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=FEED_FORWARD, num_hidden_layers=2)),
    "roberta": ("Roberta", dict(hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=FEED_FORWARD, num_hidden_layers=2,
                                type_vocab_size=1, layer_norm_eps=1e-5)),
    "xlm-roberta": ("XLMRoberta", dict(hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=FEED_FORWARD,
                                       num_hidden_layers=2, type_vocab_size=1, layer_norm_eps=1e-5)),
    "distilbert": ("DistilBert", dict(dim=WIDTH, n_heads=HEADS, hidden_dim=FEED_FORWARD, n_layers=2)),
    "albert": ("Albert", dict(hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=FEED_FORWARD, num_hidden_layers=3,
                              embedding_size=12)),
    "electra": ("Electra", dict(hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=FEED_FORWARD, num_hidden_layers=2,
                                embedding_size=12)),
    "mpnet": ("MPNet", dict(hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=FEED_FORWARD, num_hidden_layers=2,
                            layer_norm_eps=1e-5)),
}
COUNTS_POSITIONS = ("roberta", "xlm-roberta", "mpnet")
HEAD_CLASSES = dict(model="Model", masked="ForMaskedLM", sequence="ForSequenceClassification",
                    token="ForTokenClassification", answer="ForQuestionAnswering")
BERT = ["bert_model", "bert_masked", "bert_sequence", "bert_token", "bert_answer"]
FEW = ["bert_model", "bert_masked"]
OTHERS = ["roberta_model", "roberta_masked", "xlm-roberta_sequence", "distilbert_masked", "albert_model", "electra_model",
          "mpnet_model"]


def family_of(name):
    return name.split("_")[0]


def model_class(name, prefix=""):
    family, head = name.split("_")[:2]
    return getattr(transformers, prefix + FAMILIES[family][0] + HEAD_CLASSES[head])


# --- Inputs and goldens ---


def make_mask():
    """int64 [5, 11]: full, right padding, left padding, holes, one token."""
    mask = numpy.zeros((5, 11), numpy.int64)
    mask[0] = 1
    mask[1, :6] = 1
    mask[2, 4:] = 1
    mask[3, [0, 1, 3, 4, 7, 9]] = 1
    mask[4, 0] = 1
    return mask


def make_inputs(name, mask=make_mask()):
    random = numpy.random.default_rng(zlib.crc32(name.encode()))
    ids = random.integers(5, VOCABULARY, mask.shape)
    if family_of(name) in COUNTS_POSITIONS:
        ids = numpy.where(mask == 0, 1, ids)
    types = random.integers(0, 2, mask.shape)
    return dict(input_ids=ids, attention_mask=mask, token_type_ids=types)


def write_golden(path, name):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = make_inputs(name)
    inputs["position_ids"] = numpy.broadcast_to(numpy.arange(11), (5, 11))
    dtypes = {"tensor(int64)": numpy.int64, "tensor(int32)": numpy.int32, "tensor(float)": numpy.float32}
    feed = {i.name: numpy.ascontiguousarray(inputs[i.name.split(":")[0]], dtypes[i.type]) for i in session.get_inputs()}
    results = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed)))
    tensors = {"input." + key: value for key, value in feed.items()}
    tensors.update({"output." + key: numpy.ascontiguousarray(value) for key, value in results.items()})
    assert all(numpy.isfinite(value).all() for value in results.values()), path
    save_file(tensors, path.with_suffix(".golden.safetensors"))
    return results


def without_comments(model):
    """The exporters' notes to themselves (stack traces, tensor types they inferred) are most of a tiny file."""
    for part in [model.graph, *model.functions]:
        for node in part.node:
            node.doc_string = ""
            del node.metadata_props[:]
        del part.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]:
        if hasattr(value, "metadata_props"):
            del value.metadata_props[:]
        value.doc_string = ""
    del model.graph.value_info[:]
    return model


def settle(variant, name, source):
    """Puts an exported file in place with its golden, and compares it with the checkpoint's eager PyTorch outputs."""
    folder = ROOT / variant
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.onnx"
    model = onnx.load(str(source))
    if hasattr(onnx.NodeProto(), "metadata_props"):
        without_comments(model)
    onnx.save(model, str(target))
    results = write_golden(target, name)
    return model, results


def expect_near(results, name, bound, inputs=None, rows=slice(None)):
    """The exporter may not have changed the model: a golden that is wrong from the start would be worth nothing."""
    expected = torch_outputs(name, inputs or torch_inputs(name))
    mask = make_mask().astype(bool)
    for key, value in results.items():
        reference = expected.get(key)
        if reference is None:
            continue
        error = relative_error(value[rows], reference[rows], mask[rows])
        assert error < bound, f"{name} {key}: {error}"


def relative_error(value, reference, mask):
    """Frobenius, over the places that a mask attends to; over all of what has one row a sequence."""
    places = mask if value.shape[:2] == mask.shape else slice(None)
    return numpy.linalg.norm((value - reference)[places]) / numpy.linalg.norm(reference[places])


def torch_outputs(name, inputs):
    import torch

    checkpoint = CHECKPOINTS / name.removesuffix("_embedding")
    model = model_class(name).from_pretrained(checkpoint, attn_implementation="eager").eval()
    with torch.no_grad():
        outputs = model(**{key: torch.from_numpy(value) for key, value in inputs.items()})
    outputs = {key: value.numpy() for key, value in outputs.items()}
    if name.endswith("_embedding"):
        mask = make_mask()[..., None]
        mean = (outputs["last_hidden_state"] * mask).sum(1) / mask.sum(1)
        outputs["sentence_embedding"] = mean / numpy.linalg.norm(mean, axis=1, keepdims=True)
    return outputs


def torch_inputs(name, mask=make_mask()):
    inputs = make_inputs(name, mask)
    family = family_of(name)
    if family in ("roberta", "xlm-roberta", "distilbert", "mpnet"):
        del inputs["token_type_ids"]
    return inputs


# --- Checkpoints ---


def randomize(model, seed):
    """Weights large enough that attention is peaked; no bias is zero, no gain one."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        is_gain = name.lower().replace("_", "").endswith("layernorm.weight")
        parameter.data = 1 + 0.2 * noise if is_gain else (0.15 if parameter.dim() == 1 else 0.3) * noise
    model.tie_weights()


def checkpoints():
    for name in BERT + OTHERS:
        family, head = name.split("_")
        prefix, sizes = FAMILIES[family]
        labels = {"sequence": 3, "token": 5}.get(head, 2)
        config = getattr(transformers, prefix + "Config")(vocab_size=VOCABULARY, max_position_embeddings=POSITIONS,
                                                           num_labels=labels, **sizes)
        model = model_class(name)(config)
        randomize(model, zlib.crc32(family.encode()))  # heads of a family share their encoder's weights
        shutil.rmtree(CHECKPOINTS / name, ignore_errors=True)
        model.save_pretrained(CHECKPOINTS / name)
        (CHECKPOINTS / name / "generation_config.json").unlink(missing_ok=True)


# --- PyTorch's exporters ---


class Flattened:
    """A model that takes its inputs by place and returns a tuple, as the exporters want it."""

    def __new__(cls, model, keys):
        import torch

        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = model

            def forward(self, input_ids, attention_mask, token_type_ids=None):
                inputs = dict(input_ids=input_ids, attention_mask=attention_mask)
                if token_type_ids is not None:
                    inputs["token_type_ids"] = token_type_ids
                result = self.inner(**inputs)
                return tuple(result[key] for key in keys)

        return Module()


def output_names(name):
    head = name.split("_")[1]
    if head == "model":
        return ["last_hidden_state"] + (["pooler_output"] if family_of(name) not in ("distilbert", "electra") else [])
    return ["start_logits", "end_logits"] if head == "answer" else ["logits"]


def attention_of(name):
    return "eager" if family_of(name) in EAGER_ONLY else "sdpa"


def export_torch(variant, name, attention, opset, dynamo):
    import torch

    model = model_class(name).from_pretrained(CHECKPOINTS / name, attn_implementation=attention).eval()
    export_module(variant, name, Flattened(model, output_names(name)), output_names(name), opset, dynamo)


def export_module(variant, name, module, outputs, opset, dynamo):
    import torch

    # Of other extents than the golden's, so that a shape which the exporter baked in is found out.
    example = numpy.array([[1] * 7, [1] * 5 + [0] * 2, [0] + [1] * 6])
    inputs = {key: torch.from_numpy(value) for key, value in torch_inputs(name, example).items()}
    axes = {0: "batch", 1: "sequence"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        common = dict(input_names=list(inputs), output_names=outputs, opset_version=opset)
        if dynamo:
            dynamic = {key: {axis: torch.export.Dim.DYNAMIC for axis in axes} for key in inputs}
            torch.onnx.export(module, tuple(inputs.values()), str(path), dynamo=True, dynamic_shapes=dynamic,
                              external_data=False, verbose=False, **common)
        else:
            dynamic = {key: axes for key in inputs}
            dynamic.update({key: {0: "batch"} if key in ("pooler_output", "sentence_embedding") or
                            (key == "logits" and "sequence" in name.split("_")[1]) else axes for key in outputs})
            torch.onnx.export(module, tuple(inputs.values()), str(path), dynamo=False, dynamic_axes=dynamic,
                              do_constant_folding=True, **common)
        _, results = settle(variant, name, path)
    expect_near(results, name, 1e-4)


class Embedder:
    """Mean pooling and normalisation in the graph, as sentence-transformers' page on a model shows them."""

    def __new__(cls, model):
        import torch

        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = model

            def forward(self, input_ids, attention_mask, token_type_ids):
                hidden = self.inner(input_ids=input_ids, attention_mask=attention_mask,
                                    token_type_ids=token_type_ids).last_hidden_state
                mask = attention_mask.unsqueeze(-1).expand(hidden.size()).float()
                pooled = torch.sum(hidden * mask, 1) / torch.clamp(mask.sum(1), min=1e-9)
                return torch.nn.functional.normalize(pooled, p=2, dim=1)

        return Module()


def export_embedder(variant, attention, opset, dynamo):
    model = transformers.BertModel.from_pretrained(CHECKPOINTS / "bert_model", attn_implementation=attention).eval()
    export_module(variant, "bert_model_embedding", Embedder(model), ["sentence_embedding"], opset, dynamo)


def torchscript():
    for name in BERT:
        export_torch("torchscript_opset11_eager", name, "eager", 11, False)
        export_torch("torchscript_opset17_sdpa", name, "sdpa", 17, False)
    for name in FEW:
        export_torch("torchscript_opset14_sdpa", name, "sdpa", 14, False)
        export_torch("torchscript_opset17_eager", name, "eager", 17, False)
    for name in OTHERS:
        attention = attention_of(name)
        export_torch(f"torchscript_opset17_{attention}", name, attention, 17, False)
    export_torch("torchscript_opset17_eager", "distilbert_masked", "eager", 17, False)
    export_embedder("torchscript_opset17_sdpa", "sdpa", 17, False)
    export_embedder("torchscript_opset11_eager", "eager", 11, False)


def dynamo():
    for name in BERT:
        export_torch("dynamo_opset18_sdpa", name, "sdpa", 18, True)
    for name in FEW:
        export_torch("dynamo_opset18_eager", name, "eager", 18, True)
        export_torch("dynamo_opset23_sdpa", name, "sdpa", 23, True)
    for name in OTHERS:
        attention = attention_of(name)
        export_torch(f"dynamo_opset18_{attention}", name, attention, 18, True)
    export_embedder("dynamo_opset18_sdpa", "sdpa", 18, True)


# --- Optimum ---


def optimum():
    from optimum.exporters.onnx import main_export

    tasks = dict(model="feature-extraction", masked="fill-mask", sequence="text-classification", token="token-classification",
                 answer="question-answering")
    for name in BERT + ["roberta_masked", "distilbert_masked", "albert_model", "electra_model", "mpnet_model"]:
        with tempfile.TemporaryDirectory() as folder:
            main_export(str(CHECKPOINTS / name), folder, task=tasks[name.split("_")[1]], framework="pt", library_name="transformers",
                        do_validation=False, no_post_process=True, local_files_only=True)
            _, results = settle("optimum", name, Path(folder) / "model.onnx")
        expect_near(results, name, 1e-4)
    optimum_embedder()


def optimum_embedder():
    from optimum.exporters.onnx import main_export
    from sentence_transformers import SentenceTransformer, models

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain"
        shutil.copytree(CHECKPOINTS / "bert_model", plain)
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"w{i}" for i in range(VOCABULARY - 5)]
        (plain / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        transformers.BertTokenizerFast(str(plain / "vocab.txt")).save_pretrained(plain)
        modules = [models.Transformer(str(plain)), models.Pooling(WIDTH, pooling_mode="mean"), models.Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save(str(Path(folder) / "st"), create_model_card=False)
        main_export(str(Path(folder) / "st"), folder, task="feature-extraction", framework="pt",
                    library_name="sentence_transformers", do_validation=False, no_post_process=True, local_files_only=True)
        _, results = settle("optimum", "bert_model_embedding", Path(folder) / "model.onnx")
    inputs = torch_inputs("bert_model_embedding")
    del inputs["token_type_ids"]  # this exporter leaves the input out: all types are 0
    expect_near(results, "bert_model_embedding", 1e-4, inputs)


# --- ONNX Runtime's optimiser and quantiser, over the TorchScript and dynamo exports ---


def source(name, variant="torchscript_opset17_eager"):
    return ROOT / variant / f"{name}.onnx"


def runtime():
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    def fused(variant, name, origin, opt_level, raw_mask=True, approximate_gelu=False):
        options = FusionOptions("bert")
        options.use_raw_attention_mask(raw_mask)
        options.enable_gelu_approximation = approximate_gelu
        result = optimizer.optimize_model(str(origin), model_type="bert", num_heads=HEADS, hidden_size=WIDTH,
                                          opt_level=opt_level, optimization_options=options, use_gpu=False, only_onnxruntime=False)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            result.save_model_to_file(str(path))
            model, results = settle(variant, name, path)
        # A mask index is the count of a row's ones: left padding and holes lose their places.
        expect_near(results, name, 5e-3 if approximate_gelu else 1e-4, rows=slice(None) if raw_mask else [0, 1, 4])
        print(variant, name, sorted({node.op_type for node in model.graph.node if node.domain == "com.microsoft"}))

    for name in FEW:
        fused("runtime_fused", name, source(name), 0)
        fused("runtime_fused_mask_index", name, source(name), 0, raw_mask=False)
        fused("runtime_fused_dynamo", name, source(name, "dynamo_opset18_sdpa"), 0)
        fused("runtime_fused_fast_gelu", name, source(name), 0, approximate_gelu=True)
    for name in BERT:
        fused("runtime_fused_opset11", name, source(name, "torchscript_opset11_eager"), 0)

    for level, label in ((onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC, "basic"),
                         (onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED, "extended")):
        for name in FEW:
            session_optimised(f"runtime_session_{label}", name, source(name), level)


def session_optimised(variant, name, origin, level):
    """What a session writes that is told to save its graph."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.optimized_model_filepath = str(Path(folder) / "model.onnx")
        onnxruntime.InferenceSession(str(origin), options, providers=["CPUExecutionProvider"])
        model, _ = settle(variant, name, Path(folder) / "model.onnx")
        print(variant, name, sorted({node.op_type for node in model.graph.node if node.domain == "com.microsoft"}))


def quantized():
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, name):
            self.batches = iter([torch_inputs(name)] * 2)

        def get_next(self):
            return next(self.batches, None)

    for name in FEW + ["bert_sequence"]:
        origin = source(name, "torchscript_opset17_sdpa")
        with tempfile.TemporaryDirectory() as folder:
            path, prepared = Path(folder) / "model.onnx", Path(folder) / "prepared.onnx"
            quant_pre_process(str(origin), str(prepared), skip_symbolic_shape=True)
            for per_channel in (False, True):
                suffix = "_per_channel" if per_channel else ""
                quantize_dynamic(str(origin), str(path), per_channel=per_channel, weight_type=QuantType.QInt8)
                settle("quantized_dynamic" + suffix, name, path)
                quantize_static(str(prepared), str(path), Reader(name), quant_format=QuantFormat.QDQ, per_channel=per_channel,
                                op_types_to_quantize=["MatMul", "Gemm", "Gather"], weight_type=QuantType.QInt8,
                                activation_type=QuantType.QInt8 if per_channel else QuantType.QUInt8)
                settle("quantized_qdq" + suffix, name, path)
    for name in FEW:
        session_optimised("quantized_dynamic_fused", name, ROOT / "quantized_dynamic" / f"{name}.onnx",
                          onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)


# --- TensorFlow ---


def tensorflow():
    import tensorflow as tf
    import tf2onnx

    keys = ("input_ids", "attention_mask", "token_type_ids")
    for opset in (13, 17):
        for name in BERT if opset == 17 else FEW:
            model = model_class(name, "TF").from_pretrained(CHECKPOINTS / name)
            wanted = output_names(name)

            @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64, name=key) for key in keys])
            def function(input_ids, attention_mask, token_type_ids):
                result = model(dict(zip(keys, (input_ids, attention_mask, token_type_ids))), training=False)
                return {key: result[key] for key in wanted}

            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=opset,
                                              output_path=str(path))
                _, results = settle(f"tf2onnx_opset{opset}", name, path)
            print(name, opset, {key: value.shape for key, value in results.items()})
            expect_same_as(f"tf2onnx_opset{opset}", name, "torchscript_opset17_sdpa")


def expect_same_as(variant, name, other):
    from safetensors.numpy import load_file

    ours, theirs = (load_file(ROOT / folder / f"{name}.golden.safetensors") for folder in (variant, other))
    mask = make_mask().astype(bool)
    for key, value in ours.items():
        if key.startswith("output."):
            error = relative_error(value, theirs[key], mask)
            assert error < 1e-4, f"{variant} {name} {key}: {error}"


def main():
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    steps = {step.__name__: step for step in (checkpoints, torchscript, dynamo, optimum, runtime, quantized, tensorflow)}
    for name in sys.argv[1:]:
        steps[name]()


if __name__ == "__main__":
    main()
