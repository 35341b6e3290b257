#!/usr/bin/env python3
"""Makes the tokenizer.json files of this folder: small models trained on the texts of tests/data and on generated ones.

Run once, with the packages tokenizers and sentencepiece (for the character map alone); the results are committed.
"""
import collections
import json
import pathlib
import sys
import tempfile
import unicodedata

import sentencepiece
import sentencepiece.sentencepiece_model_pb2 as sentencepiece_model
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "parity"))
from sample_texts import make_texts  # noqa: E402


def real_lines():
    return [line for name in ("calibration.txt", "evaluation.txt") for line in (HERE.parent / name).read_text().splitlines()]


def character_map():
    """A SentencePiece character map in the manner of nmt_nfkc: NFKC of single characters and of some sequences, controls
    taken out, spaces made plain."""
    rules = {}
    ranges = [(0xA0, 0x250), (0x1E00, 0x1F00), (0x2000, 0x2200), (0x2460, 0x2500), (0x3000, 0x3100), (0x3200, 0x3400),
              (0xFB00, 0xFB50), (0xFE30, 0xFF00), (0xFF00, 0xFFF0), (0x1D400, 0x1D500), (0x0344, 0x0390), (0x0958, 0x0960)]
    for first, last in ranges:
        for code in range(first, last):
            text = unicodedata.normalize("NFKC", chr(code))
            if text != chr(code):
                rules[(code,)] = text
            decomposed = unicodedata.normalize("NFD", chr(code))
            if 1 < len(decomposed) <= 3 and unicodedata.normalize("NFKC", decomposed) == chr(code):
                rules[tuple(map(ord, decomposed))] = chr(code)
    for code in list(range(1, 9)) + [0x0B] + list(range(0x0E, 0x20)) + [0x7F, 0x8F, 0x9F, 0xAD, 0x200B]:
        rules[(code,)] = ""
    for code in [9, 10, 12, 13, 0x1680, 0x2028, 0x2029, 0x200E, 0x200F, 0xFEFF, 0xFFFD]:
        rules[(code,)] = " "
    lines = ["\t".join([" ".join("%X" % code for code in key), " ".join("%X" % ord(c) for c in value)])
             for key, value in sorted(rules.items())]
    with tempfile.TemporaryDirectory() as folder:
        rule_file = pathlib.Path(folder) / "rules.tsv"
        rule_file.write_text("\n".join(lines) + "\n")
        sentences = pathlib.Path(folder) / "texts.txt"
        sentences.write_text("\n".join(real_lines()))
        sentencepiece.SentencePieceTrainer.train(input=str(sentences), model_prefix=f"{folder}/m", vocab_size=300,
                                                 normalization_rule_tsv=str(rule_file), hard_vocab_limit=False, minloglevel=2)
        model = sentencepiece_model.ModelProto()
        model.ParseFromString((pathlib.Path(folder) / "m.model").read_bytes())
        return bytes(model.normalizer_spec.precompiled_charsmap)


def with_ids(tokenizer, *tokens):
    return [(token, tokenizer.token_to_id(token)) for token in tokens]


def frequent_only(texts, count):
    """The texts without all but the `count` most frequent characters: a small model has no room for more."""
    frequency = collections.Counter(c for text in texts for c in text)
    kept = {c for c, _ in frequency.most_common(count)}
    return ["".join(c for c in text if c in kept) for text in texts]


def save(tokenizer, name):
    tokenizer.save(str(HERE / f"{name}.json"), pretty=False)


def main():
    real = real_lines()
    texts = real * 3 + frequent_only(make_texts(6000, 1, real), 1200)

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=6000, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    save(tokenizer, "bert_cased")

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=5000, special_tokens=special, show_progress=False,
                                                             initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    save(tokenizer, "roberta")

    charsmap = character_map()
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=4000, special_tokens=special, unk_token="<unk>",
                                                                 show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=with_ids(tokenizer, "<s>", "</s>"))
    tokenizer.decoder = decoders.Metaspace()
    save(tokenizer, "xlm_roberta")

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), normalizers.Precompiled(charsmap)])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "<unk>", "[CLS]", "[SEP]", AddedToken("[MASK]", lstrip=True, special=True)]
    tokenizer.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=3000, special_tokens=special, unk_token="<unk>",
                                                                 show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=with_ids(tokenizer, "[CLS]", "[SEP]"))
    tokenizer.decoder = decoders.Metaspace()
    save(tokenizer, "albert")

    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(vocab_size=4000, special_tokens=special, show_progress=False))
    save(tokenizer, "word_level")

    # A line a field.
    for path in HERE.glob("*.json"):
        document = json.loads(path.read_text())
        path.write_text("{" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"
                                         for key, value in document.items()) + "}\n")
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
