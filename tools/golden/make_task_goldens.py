#!/usr/bin/env python3
"""Writes tests/data/tasks/: tiny random models with trained tokenizers, and what Hugging Face's pipelines answer with them.

Each folder holds config.json, model.safetensors, tokenizer.json and golden.json: a list of cases
{"task", "flags" (of `bertie run`), "input" (a text or an object), "expected" (the pipeline's answer under the names that
`bertie run --json` gives)}. embed and rerank come from sentence-transformers.

    pip install torch transformers sentence-transformers tokenizers
    python tools/golden/make_task_goldens.py
    pip install transformers==4.57.1        # the last that has the question-answering pipeline
    python tools/golden/make_task_goldens.py answer

Made with transformers 5.23 (answer: 4.57.1), torch 2.15, sentence-transformers 6.2.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

warnings.filterwarnings("ignore")
DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
ROOT = DATA / "tasks"
VOCABULARY = 700
NER = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Wolfgang Amadeus Mozart lived in Vienna, and later in Salzburg!",
    "naïve café — 日本語 and émigré 😀 mixed.",
    "a",
    "Unbelievable internationalisation of counterrevolutionaries' e-mail addresses (2024-05-01) costs $3.50.",
    "Two  spaces,\ttab; \"quotes\" and 'more'...",
]
CONTEXT = " ".join((DATA / "evaluation.txt").read_text().splitlines()[:40])


def corpus():
    return (DATA / "calibration.txt").read_text().splitlines()


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special))
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", cls), ("[SEP]", sep)])
    tokenizer.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=128, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        pad_token="[PAD]", mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"])


def byte_bpe():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")), add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=128, bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>",
        unk_token="<unk>", pad_token="<pad>", mask_token=transformers.AddedToken("<mask>", lstrip=True, special=True),
        model_input_names=["input_ids", "attention_mask"])


def config(family, tokenizer, **changes):
    sizes = dict(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                 pad_token_id=tokenizer.pad_token_id)
    if family == "bert":
        return transformers.BertConfig(max_position_embeddings=128, **sizes, **changes)
    return transformers.RobertaConfig(max_position_embeddings=130, type_vocab_size=1, layer_norm_eps=1e-5, **sizes, **changes)


def labels(names):
    return dict(id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})


def make(name, family, head, seed, **changes):
    """Saves the model and its tokenizer; returns both as they are on disk."""
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = word_piece() if family == "bert" else byte_bpe()
    prefix = {"bert": "Bert", "roberta": "Roberta"}[family]
    model = getattr(transformers, prefix + head)(config(family, tokenizer, **changes))
    generator = torch.Generator().manual_seed(seed)
    seen = set()
    for _, parameter in sorted(model.named_parameters()):
        if parameter.data_ptr() not in seen and parameter.dim() > 1:
            seen.add(parameter.data_ptr())
            parameter.data = 0.35 * torch.randn(parameter.shape, generator=generator)
    model.tie_weights()
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pipeline(task, folder, **options):
    return transformers.pipeline(task, model=str(folder), tokenizer=str(folder), device="cpu", dtype=torch.float32, **options)


def save(folder, cases):
    (folder / "golden.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")
    print(folder.name, len(cases), "cases")


def fill_mask_cases(folder, mask):
    fill = pipeline("fill-mask", folder)
    texts = [f"The quick {mask} fox.", f"{mask}", f"In Vienna,{mask} the naïve café {mask} costs $3.", f"end of {mask}{mask} text"]
    cases = []
    for text in texts:
        answers = fill(text, top_k=4)
        ids = fill.tokenizer(text)["input_ids"]
        positions = [i for i, token in enumerate(ids) if token == fill.tokenizer.mask_token_id]
        single = len(positions) == 1
        masks = []
        for position, candidates in zip(positions, [answers] if single else answers):
            rows = []
            for candidate in candidates:
                filled = list(ids)
                filled[position] = candidate["token"]
                # With several masks the pipeline leaves [CLS] and [SEP] in its text; bertie leaves them out.
                shown = candidate["sequence"] if single else fill.tokenizer.decode(filled[1:-1])
                rows.append(dict(token=candidate["token_str"], id=candidate["token"], score=candidate["score"], text=shown))
            masks.append(dict(position=position, candidates=rows))
        cases.append(dict(task="fill-mask", flags=["--top-k", "4"], input=text, expected=dict(text=text, masks=masks)))
    save(folder, cases)


def classify_cases(folder):
    classify = pipeline("text-classification", folder)
    cases = [dict(task="classify", flags=[], input=text, expected=dict(text=text, labels=classify(text, top_k=None)))
             for text in TEXTS]
    pair = dict(text=TEXTS[0], text_pair=TEXTS[1])
    cases.append(dict(task="classify", flags=[], input=pair, expected=dict(**pair, labels=classify(pair, top_k=None))))
    save(folder, cases)


def tag_cases(folder):
    cases = []
    for grouping in ("none", "simple", "first", "average", "max"):
        tag = pipeline("token-classification", folder, aggregation_strategy=grouping)
        for text in TEXTS:
            entities = [dict(label=e["entity"] if grouping == "none" else e["entity_group"], text=text[e["start"]:e["end"]],
                             start=e["start"], end=e["end"], score=float(e["score"])) for e in tag(text)]
            cases.append(dict(task="tag", flags=["--group", grouping], input=text, expected=dict(text=text, entities=entities)))
    save(folder, cases)


def answer_cases(folder):
    answer = pipeline("question-answering", folder)
    cases = []
    questions = [("Where did Mozart live?", TEXTS[1]), ("naïve?", TEXTS[2]), ("What is it about?", CONTEXT), ("Who?", CONTEXT[700:])]
    for question, context in questions:
        for top_k in (1, 3):
            for impossible in (False, True):
                found = answer(question=question, context=context, top_k=top_k, handle_impossible_answer=impossible)
                found = found if isinstance(found, list) else [found]
                found = [dict(answer=f["answer"], start=f["start"], end=f["end"], score=f["score"]) for f in found]
                flags = ["--top-k", str(top_k)] + (["--allow-no-answer"] if impossible else [])
                expected = dict(question=question, **found[0])
                if len(found) > 1:
                    expected["answers"] = found
                cases.append(dict(task="answer", flags=flags, input=dict(question=question, context=context), expected=expected))
    options = dict(max_seq_len=60, doc_stride=20, max_answer_len=4)
    f = answer(question="Who?", context=CONTEXT, **options)
    cases.append(dict(task="answer", flags=["--window", "60", "--overlap", "20", "--max-answer", "4"],
                      input=dict(question="Who?", context=CONTEXT),
                      expected=dict(question="Who?", answer=f["answer"], start=f["start"], end=f["end"], score=f["score"])))
    save(folder, cases)


def rerank_cases(folder):
    from sentence_transformers import CrossEncoder
    encoder = CrossEncoder(str(folder), device="cpu")
    encoder.model.float()
    query = "Where did Mozart live?"
    ranked = encoder.rank(query, TEXTS)
    results = [dict(index=r["corpus_id"], score=float(r["score"])) for r in ranked]
    save(folder, [dict(task="rerank", flags=[], input=dict(query=query, texts=TEXTS), expected=dict(query=query, results=results))])


def embed_cases(folder):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as modules
    transformer = modules.Transformer(str(folder), max_seq_length=24)
    transformer.auto_model.float()
    width = transformer.get_word_embedding_dimension()
    encoder = SentenceTransformer(modules=[transformer, modules.Pooling(width, "mean"), modules.Normalize()], device="cpu")
    half = SentenceTransformer(modules=[transformer, modules.Pooling(width, "mean"), modules.Normalize()], device="cpu")
    texts = TEXTS + [CONTEXT, ""]
    cases = [dict(task="embed", flags=[], input=text, expected=dict(text=text, embedding=row.tolist()))
             for text, row in zip(texts, encoder.encode(texts))]
    half[0].auto_model.half()
    shutil.rmtree(folder)
    half.save(str(folder), create_model_card=False)
    save(folder, cases)


def main():
    if "answer" in sys.argv[1:]:
        answer_cases(make("bert_answer", "bert", "ForQuestionAnswering", 1))
        answer_cases(make("roberta_answer", "roberta", "ForQuestionAnswering", 2))
        return
    fill_mask_cases(make("bert_masked", "bert", "ForMaskedLM", 3), "[MASK]")
    fill_mask_cases(make("roberta_masked", "roberta", "ForMaskedLM", 4), "<mask>")
    classify_cases(make("bert_classify", "bert", "ForSequenceClassification", 5, **labels(["bad", "fair", "good"])))
    classify_cases(make("bert_multi_label", "bert", "ForSequenceClassification", 6, problem_type="multi_label_classification",
                        **labels(["sport", "news", "food", "art"])))
    rerank = make("bert_rerank", "bert", "ForSequenceClassification", 7, **labels(["LABEL_0"]))
    rerank_cases(rerank)
    tag_cases(make("bert_tag", "bert", "ForTokenClassification", 8, **labels(NER)))
    tag_cases(make("roberta_tag", "roberta", "ForTokenClassification", 9, **labels(NER)))
    embed_cases(make("bert_embed", "bert", "Model", 10))


if __name__ == "__main__":
    main()
