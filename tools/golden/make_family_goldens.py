#!/usr/bin/env python3
"""Writes tests/data/families/: tiny random models of every family and head with the outputs transformers gives them.

Each folder holds what save_pretrained (or SentenceTransformer.save) writes, and golden.safetensors: the padded inputs
(input_ids, attention_mask, token_type_ids, position_ids; i64 [batch, sequence]) and every output under its Hugging Face
name, computed in float64 by eager attention from the stored weights and rounded to float32. A hand-altered folder (legacy
tensor names, shards, other dtypes) has the golden of the model that it was made from.

    pip install torch transformers sentence-transformers safetensors
    python tools/golden/make_family_goldens.py [NAME ...]

Made with transformers 5.23, torch 2.15, sentence-transformers 6.2.
"""

import json
import shutil
import sys
import zlib
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers import models as st_modules

ROOT = Path(__file__).resolve().parents[2] / "tests" / "data" / "families"
LENGTHS = (7, 1, 11, 4)
VOCABULARY = 72

# family -> (class prefix, config class, sizes)
FAMILIES = {
    "bert": ("Bert", dict(hidden_size=30, num_attention_heads=2, intermediate_size=44, type_vocab_size=2)),
    "roberta": ("Roberta", dict(hidden_size=32, num_attention_heads=4, intermediate_size=40, type_vocab_size=1,
                                max_position_embeddings=34, layer_norm_eps=1e-5)),
    "xlm-roberta": ("XLMRoberta", dict(hidden_size=24, num_attention_heads=3, intermediate_size=36, type_vocab_size=1,
                                       max_position_embeddings=34, layer_norm_eps=1e-5)),
    "camembert": ("Camembert", dict(hidden_size=36, num_attention_heads=4, intermediate_size=40, type_vocab_size=1,
                                    max_position_embeddings=34, layer_norm_eps=1e-5)),
    "distilbert": ("DistilBert", dict(dim=35, n_heads=5, hidden_dim=44)),
    "albert": ("Albert", dict(hidden_size=32, num_attention_heads=4, intermediate_size=48, embedding_size=12)),
    "electra": ("Electra", dict(hidden_size=28, num_attention_heads=4, intermediate_size=40, embedding_size=16)),
    "mpnet": ("MPNet", dict(hidden_size=24, num_attention_heads=3, intermediate_size=40, max_position_embeddings=34,
                            layer_norm_eps=1e-5)),
}
HEADS = {
    "model": "Model",
    "masked": "ForMaskedLM",
    "pretraining": "ForPreTraining",
    "sequence": "ForSequenceClassification",
    "token": "ForTokenClassification",
    "answer": "ForQuestionAnswering",
}


def make_config(family, layers=1, **changes):
    prefix, sizes = FAMILIES[family]
    config_class = getattr(transformers, prefix + "Config")
    values = dict(vocab_size=VOCABULARY, max_position_embeddings=32)
    values["n_layers" if family == "distilbert" else "num_hidden_layers"] = layers
    return config_class(**{**values, **sizes, **changes})


def randomize(model, seed):
    """Weights large enough that attention is peaked and every activation leaves its linear part."""
    generator = torch.Generator().manual_seed(seed)
    seen = set()
    for name, parameter in sorted(model.named_parameters()):
        if parameter.data_ptr() in seen:
            continue
        seen.add(parameter.data_ptr())
        noise = torch.randn(parameter.shape, generator=generator)
        is_gain = name.lower().replace("_", "").endswith(("layernorm.weight", "layerlayernorm.weight"))
        parameter.data = 1 + 0.2 * noise if is_gain else (0.15 if parameter.dim() == 1 else 0.3) * noise
    model.tie_weights()


def make_inputs(config, seed, lengths=LENGTHS):
    generator = torch.Generator().manual_seed(seed)
    pad = config.pad_token_id
    batch, longest = len(lengths), max(lengths)
    ids = torch.full((batch, longest), pad)
    mask = torch.zeros((batch, longest), dtype=torch.long)
    types = torch.zeros((batch, longest), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(3, config.vocab_size, (length,), generator=generator)
        mask[row, :length] = 1
        if getattr(config, "type_vocab_size", 0) > 1:
            types[row, length // 2:length] = 1
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions = torch.cumsum((ids != pad).long(), 1) * (ids != pad) + pad
    else:
        positions = torch.arange(longest).expand(batch, longest)
    inputs = dict(input_ids=ids, attention_mask=mask, position_ids=positions.contiguous())
    if hasattr(config, "type_vocab_size"):
        inputs["token_type_ids"] = types
    return inputs


def outputs_of(model, inputs):
    """Every output of the model and of its encoder, float64 to float32."""
    model = model.double().eval()
    with torch.no_grad():
        base = model.base_model(**inputs)
        outputs = dict(last_hidden_state=base.last_hidden_state)
        if getattr(base, "pooler_output", None) is not None:
            outputs["pooler_output"] = base.pooler_output
        if model is not model.base_model:
            whole = model(**inputs)
            for name in ("logits", "prediction_logits", "start_logits", "end_logits"):
                if getattr(whole, name, None) is not None:
                    outputs[name.replace("prediction_", "")] = getattr(whole, name)
    return {name: value.float().contiguous() for name, value in outputs.items()}


def save_golden(folder, inputs, outputs):
    save_file({**inputs, **outputs}, folder / "golden.safetensors")


def make(name, family, head, dtype=torch.float16, lengths=LENGTHS, **changes):
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    seed = zlib.crc32(name.encode())
    config = make_config(family, **changes)
    model_class = getattr(transformers, FAMILIES[family][0] + HEADS[head])
    model = model_class(config)
    randomize(model, seed)
    model.to(dtype).save_pretrained(folder)
    stored = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    inputs = make_inputs(config, seed, lengths)
    save_golden(folder, inputs, outputs_of(stored, inputs))
    return folder


def copied(name, source):
    shutil.rmtree(ROOT / name, ignore_errors=True)
    shutil.copytree(ROOT / source, ROOT / name)
    return ROOT / name


def edit_json(path, **changes):
    """Sets fields; None takes one away."""
    content = json.loads(path.read_text())
    for field, value in changes.items():
        content.pop(field, None)
        if value is not None:
            content[field] = value
    path.write_text(json.dumps(content, indent=2) + "\n")


def edit_tensors(folder, edit):
    path = folder / "model.safetensors"
    save_file(edit(load_file(path)), path, metadata={"format": "pt"})


def make_plain():
    heads = {
        "bert": "model masked pretraining sequence token answer",
        "roberta": "model masked sequence token answer",
        "xlm-roberta": "model masked sequence token answer",
        "camembert": "model masked sequence token answer",
        "distilbert": "model masked sequence token answer",
        "albert": "model masked pretraining sequence token answer",
        "electra": "model masked pretraining sequence token answer",
        "mpnet": "model masked sequence token answer",
    }
    three = {0: "low", 1: "middle", 2: "high"}
    five = dict(enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))
    for family, names in heads.items():
        for head in names.split():
            labels = dict(id2label=three) if head == "sequence" else dict(id2label=five) if head == "token" else {}
            layers = 3 if head == "model" else 2 if head == "pretraining" else 1
            make(f"{family}_{head}", family, head, layers=layers, **labels)


def make_variants():
    make("bert_masked_untied", "bert", "masked", tie_word_embeddings=False)
    make("bert_model_float32", "bert", "model", torch.float32, hidden_act="gelu_new")
    make("bert_model_bfloat16", "bert", "model", torch.bfloat16, hidden_act="relu")
    make("bert_model_silu", "bert", "model", hidden_act="silu")
    make("bert_model_tanh", "bert", "model", hidden_act="tanh")
    make("bert_model_no_layers", "bert", "model", layers=0)
    make("bert_masked_relu", "bert", "masked", hidden_act="relu")
    make("roberta_masked_relu", "roberta", "masked", hidden_act="relu")  # its head keeps gelu
    make("distilbert_masked_relu", "distilbert", "masked", activation="relu")
    make("bert_sequence_regression", "bert", "sequence", num_labels=1, problem_type="regression")
    make("bert_sequence_multi_label", "bert", "sequence", num_labels=4, problem_type="multi_label_classification")
    make("albert_model_groups", "albert", "model", layers=5, num_hidden_groups=2, inner_group_num=2)
    make("electra_masked_same_width", "electra", "masked", embedding_size=28, type_vocab_size=3)
    # Long enough for every bucket of the relative position bias.
    make("mpnet_model_long", "mpnet", "model", lengths=(150, 9), max_position_embeddings=160)


def make_legacy():
    def tensorflow_names(tensors):
        return {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
                for name, tensor in tensors.items()}

    def with_leftovers(tensors):
        hidden = tensors["bert.embeddings.LayerNorm.weight"].shape[0]
        rows = tensors["bert.embeddings.position_embeddings.weight"].shape[0]
        return {
            **tensors,
            "bert.embeddings.position_ids": torch.arange(rows).unsqueeze(0),
            "cls.seq_relationship.weight": torch.ones(2, hidden, dtype=torch.float16),
            "cls.seq_relationship.bias": torch.ones(2, dtype=torch.float16),
            "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"].clone(),
            "cls.predictions.decoder.bias": tensors["cls.predictions.bias"].clone(),
        }

    edit_tensors(copied("legacy_gamma_beta", "bert_masked"), tensorflow_names)
    edit_tensors(copied("legacy_leftovers", "bert_masked"), with_leftovers)
    edit_tensors(copied("legacy_no_prefix", "bert_masked"),
                 lambda tensors: {name.removeprefix("bert."): tensor for name, tensor in tensors.items()})
    edit_tensors(copied("legacy_prefixed_model", "bert_model"),
                 lambda tensors: {"bert." + name: tensor for name, tensor in tensors.items()})
    edit_tensors(copied("legacy_decoder_only", "bert_masked"),
                 lambda tensors: {"cls.predictions.decoder.weight" if name.endswith("word_embeddings.weight") else name: tensor
                                  for name, tensor in tensors.items()})
    edit_tensors(copied("legacy_roberta_decoder", "roberta_masked"), lambda tensors: {
        **tensors,
        "lm_head.decoder.weight": tensors["roberta.embeddings.word_embeddings.weight"].clone(),
        "lm_head.decoder.bias": tensors["lm_head.bias"].clone(),
    })
    edit_json(copied("legacy_no_model_type", "distilbert_masked") / "config.json", model_type=None)
    edit_json(copied("legacy_no_architecture", "electra_masked") / "config.json", architectures=None)
    make_shards(copied("sharded", "bert_pretraining"))


def make_shards(folder):
    """Three files and an index, as save_pretrained lays them out for large models."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for shard in range(3):
        file = f"model-{shard + 1:05}-of-00003.safetensors"
        part = {name: tensor for i, (name, tensor) in enumerate(sorted(tensors.items())) if i % 3 == shard}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in part})
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = dict(metadata=dict(total_size=size), weight_map=weight_map)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


WORDS = "the a cat dog sat on mat ran to house big small red blue quick slow ##s ##ed ##ing . ,".split()


def write_tokenizer(folder):
    """A WordPiece tokenizer of a few words, lower-casing."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS
    vocabulary += [f"w{i}" for i in range(VOCABULARY - len(vocabulary))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}, do_lower_case=True)
    tokenizer.save_pretrained(folder)


def make_sentence(name, pooling, dense=None, normalize=False, max_seq_length=None):
    """A sentence-transformers folder as its own library saves it."""
    folder, inner = ROOT / name, ROOT / (name + ".inner")
    shutil.rmtree(folder, ignore_errors=True)
    model = transformers.BertModel(make_config("bert"), add_pooling_layer=False)
    randomize(model, zlib.crc32(name.encode()))
    model.half().save_pretrained(inner)
    write_tokenizer(inner)
    hidden = model.config.hidden_size
    transformer = st_modules.Transformer(str(inner), max_seq_length=max_seq_length)
    modules = [transformer, st_modules.Pooling(hidden, pooling_mode=pooling)]
    if dense:
        modules.append(st_modules.Dense(hidden, 20, activation_function=dense[0], bias=dense[1]))
        for parameter in modules[-1].parameters():
            parameter.data.mul_(3)
    if normalize:
        modules.append(st_modules.Normalize())
    sentence = SentenceTransformer(modules=modules)
    sentence.save(str(folder), create_model_card=False)
    shutil.rmtree(inner)
    inputs = make_inputs(model.config, zlib.crc32(name.encode()))
    del inputs["position_ids"]
    sentence.double().eval()
    with torch.no_grad():
        result = sentence.forward(dict(inputs))
    inputs["position_ids"] = torch.arange(max(LENGTHS)).expand(len(LENGTHS), max(LENGTHS)).contiguous()
    save_golden(folder, inputs, dict(last_hidden_state=result["token_embeddings"].float().contiguous(),
                                     sentence_embedding=result["sentence_embedding"].float().contiguous()))
    return folder


def make_sentences():
    make_sentence("sentence_mean_normalize", "mean", normalize=True, max_seq_length=16)
    make_sentence("sentence_cls", "cls")
    make_sentence("sentence_max_dense_normalize", "max", (torch.nn.Tanh(), True), True)
    make_sentence("sentence_sqrt_dense_identity", "mean_sqrt_len_tokens", (torch.nn.Identity(), False))
    make_old_sentence("sentence_old_layout", "sentence_mean_normalize")


def make_old_sentence(name, source):
    """As sentence-transformers 1 saved: 0_Transformer, pooling flags, the old module names."""
    folder = copied(name, source)
    (folder / "0_Transformer").mkdir()
    for file in list(folder.iterdir()):
        if file.is_file() and file.name not in ("modules.json", "golden.safetensors", "config_sentence_transformers.json"):
            file.rename(folder / "0_Transformer" / file.name)
    (folder / "0_Transformer" / "sentence_bert_config.json").write_text(
        json.dumps(dict(max_seq_length=16, do_lower_case=True), indent=2) + "\n")
    flags = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(
        {"word_embedding_dimension": FAMILIES["bert"][1]["hidden_size"],
         **{f"pooling_mode_{flag}": flag == "mean_tokens" for flag in flags}}, indent=2) + "\n")
    (folder / "modules.json").write_text(json.dumps(
        [dict(idx=i, name=str(i), path=path, type="sentence_transformers.models." + kind)
         for i, (path, kind) in enumerate([("0_Transformer", "Transformer"), ("1_Pooling", "Pooling"),
                                           ("2_Normalize", "Normalize")])], indent=2) + "\n")


def main():
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    steps = [make_plain, make_variants, make_legacy, make_sentences]
    wanted = set(sys.argv[1:])
    for step in steps:
        if not wanted or step.__name__.removeprefix("make_") in wanted:
            step()
    for needless in ROOT.glob("**/generation_config.json"):
        needless.unlink()


if __name__ == "__main__":
    main()
