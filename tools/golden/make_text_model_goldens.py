#!/usr/bin/env python3
"""Writes src/text/testdata/models.json: small tokenizer models, words, and their tokens from Hugging Face `tokenizers`.

usage: make_text_model_goldens.py
Each case: {"name", "model" or "file", "words", "tokens": one [[id, begin byte, end byte], ...] a word, null where refused}.
"""
import json
import pathlib

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]


def numbered(*pieces):
    return {piece: index for index, piece in enumerate(pieces)}


def word_piece(*pieces, **fields):
    return {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": numbered(*pieces)} | fields


def bpe(pieces, merges, **fields):
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": numbered(*pieces), "merges": merges} | fields


def unigram(*vocabulary, **fields):
    return {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": list(vocabulary)} | fields


BYTES = [f"<0x{b:02X}>" for b in range(256)]
LETTERS = ["<unk>", "a", "b", "c", "d"]

CASES = [
    ("word_piece_bundled", "models/minilm-l6-mlm/tokenizer.json",
     ["paris", "embeddings", "unaffable", "electroencephalographically", "##ing", "[MASK]", "[CLS]x", "a" * 100, "a" * 101,
      "\u0301", "e\u0301tude", "caf\u00e9", "\u4e2d", "\u4e2d\u6587", "\U0001f600", "\u00e9" * 100, "\u00e9" * 101, "!", "1234567", "\u0000", "\u00a0"]),
    ("word_piece_backs_off", word_piece("[UNK]", "ab", "abcd", "##c", "##cde", "##e", "a", "##b"), ["abcdf", "abcde", "abce", "abb", "abcdab", "ba"]),
    ("word_piece_empty_prefix", word_piece("[UNK]", "ab", "c", "abc", "d", continuing_subword_prefix=""), ["abcd", "abdc", "dab", "ad"]),
    ("word_piece_literal_prefix", word_piece("[UNK]", "##", "##a", "a", "#"), ["##a", "a##", "#", "a#", "###a"]),
    ("word_piece_length_limit", word_piece("[UNK]", "\u00e9", "##\u00e9", max_input_chars_per_word=3), ["\u00e9" * 3, "\u00e9" * 4]),
    ("word_piece_no_unknown", word_piece("a", "##b"), ["ab", "ba", "a" * 101]),
    ("word_piece_nul", word_piece("[UNK]", "a\u0000", "##\u0000b", "\u0000"), ["a\u0000\u0000b", "\u0000", "a"]),
    ("word_level", {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 7, "yes": 900000, "": 3}}, ["yes", "no", "ye"]),
    ("word_level_no_unknown", {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"yes": 0}}, ["yes", "no"]),
    ("bpe_rank_then_place", bpe(LETTERS + ["ab", "bc", "aa", "abc"], [["b", "c"], ["a", "a"], ["a", "b"], ["a", "bc"], ["ab", "c"]]),
     ["abc", "aaaab", "aaabc", "abab", "cba", "aaa"]),
    ("bpe_merges_as_strings", bpe(LETTERS + ["ab", "abc"], ["#version: 0.2", "a b", "ab c"]), ["abcab", "cab"]),
    ("bpe_repeated_merge", bpe(LETTERS + ["ab", "bc"], [["a", "b"], ["b", "c"], ["a", "b"]]), ["abc"]),
    ("bpe_unknown_vanishes", bpe(LETTERS + ["ab"], [["a", "b"]]), ["axb", "xab", "x", "ab\u4e2dab"]),
    ("bpe_unknown", bpe(LETTERS + ["ab"], [["a", "b"]], unk_token="<unk>"), ["axyb", "xxab", "\u4e2d\u6587"]),
    ("bpe_unknown_fused", bpe(LETTERS + ["ab"], [["a", "b"]], unk_token="<unk>", fuse_unk=True), ["axyb", "xxab", "\u4e2d\u6587a\u4e2d"]),
    ("bpe_unknown_absent", bpe(LETTERS[1:], [], unk_token="<unk>"), ["ab", "ax"]),
    ("bpe_bytes", bpe(LETTERS + BYTES, [], byte_fallback=True), ["a\u4e2db", "\U0001f600"]),
    ("bpe_some_bytes", bpe(LETTERS + ["<0x78>"], [], byte_fallback=True, unk_token="<unk>", fuse_unk=True), ["axb", "yxya", "\u4e2dxx"]),
    ("bpe_affixes", bpe(["a", "##b", "##b</w>", "c</w>", "ab", "ab</w>"], [["a", "##b"], ["a", "##b</w>"]],
                        continuing_subword_prefix="##", end_of_word_suffix="</w>"), ["ab", "abb", "c", "abab", "b"]),
    ("bpe_spelled_affix", bpe(["a", *BYTES], [], byte_fallback=True, end_of_word_suffix="</w>"), ["a", "aa", "a\u4e2d"]),
    ("bpe_ignore_merges", bpe(LETTERS + ["ab", "abcd"], [["a", "b"]], ignore_merges=True), ["abcd", "abcda", "ab"]),
    ("bpe_gains_nothing", bpe(["a", "", "b", "ab"], [["a", ""], ["a", "b"]]), ["ab", "aabb"]),
    ("unigram_best_path", unigram(["<unk>", 0], ["a", 0], ["b", 0], ["c", 0], ["d", 0], ["cd", 1], ["ab", 2], ["abc", 5], ["abcd", 10]),
     ["abcd", "abcdacdxx", "abcbcd", "x", "xaxx"]),
    ("unigram_ties", unigram(["<unk>", 0], ["a", -1], ["aa", -2], ["aaa", -3], ["b", -1], ["ab", -2], ["ba", -2]), ["aaaa", "aabab", "baab"]),
    ("unigram_rounding", unigram(["<unk>", 0], ["a", -0.1], ["b", -0.2], ["c", -0.3], ["ab", -0.30000000000000004], ["bc", -0.5]), ["abc", "cabc"]),
    ("unigram_unknown_run_is_a_piece", unigram(["<unk>", 0], ["xy", -90], ["a", -1]), ["axya", "xy", "xyxy", "<unk>", "<unk>x"]),
    ("unigram_bytes", unigram(["<unk>", 0], ["a", -1], *[[b, -2] for b in BYTES], byte_fallback=True), ["a\u4e2d\u6587a", "\U0001f600"]),
    ("unigram_no_unknown", unigram(["a", -1], ["aab", -1], unk_id=None), ["aa", "aab", "ab"]),
    ("unigram_repeated_piece", unigram(["<unk>", 0], ["a", -1], ["ab", -9], ["b", -2], ["ab", -1]), ["ab", "aab"]),
    ("guessed_bpe", {"vocab": numbered("a", "b", "ab"), "merges": ["a b"], "unk_token": "a"}, ["ab"]),
    ("guessed_word_piece", {k: v for k, v in word_piece("[UNK]", "a", "##b").items() if k != "type"}, ["ab", "b"]),
    ("guessed_word_level", {"unk_token": "a", "vocab": numbered("a", "b")}, ["ab", "b"]),
    ("guessed_unigram", {"unk_id": 0, "vocab": [["<unk>", 0], ["a", -1]]}, ["ab"]),
]


def tokens_of(model, word):
    try:
        size = len(word.encode())  # spelled bytes of an affix run past the end there; here they get the last byte
        return [[token.id, min(token.offsets[0], size - 1), min(token.offsets[1], size)] for token in model.tokenize(word)]
    except Exception:
        return None


def main():
    cases = []
    for name, model, words in CASES:
        if isinstance(model, str):
            source, document = {"file": model}, json.loads((ROOT / model).read_text())
        else:
            source, document = {"model": model}, {"version": "1.0", "model": model}
        reference = Tokenizer.from_str(json.dumps(document)).model
        cases.append({"name": name, **source, "words": words, "tokens": [tokens_of(reference, word) for word in words]})
    rows = ",\n".join(json.dumps(case) for case in cases)
    (ROOT / "src" / "text" / "testdata" / "models.json").write_text(
        '{"made_by": "tools/golden/make_text_model_goldens.py",\n"cases": [\n' + rows + "\n]}\n")


if __name__ == "__main__":
    main()
