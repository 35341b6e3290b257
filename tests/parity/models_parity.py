#!/usr/bin/env python3
"""Random WordPiece, BPE, Unigram and WordLevel models on random words: ids and byte offsets must equal Hugging Face's.

usage: models_parity.py MODEL_PROBE [--seed N] [--models N]
"""
import argparse
import json
import random
import subprocess
import sys

from tokenizers import Tokenizer

ALPHABETS = [
    "ab",
    "abcde",
    "abcdefghijklmnopqrstuvwxyz",
    "aéßñ\u0301\u0302x",
    "abж中文日\u0e01😀🇫▁",
    "Ġab\u010a#<>0xAF",
]


def pick_word(rng, alphabet, longest):
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, longest)))


def number_pieces(rng, pieces):
    """Ids in random order, now and then with holes."""
    count = len(pieces)
    ids = rng.sample(range(count * rng.choice([1, 1, 3, 1000])), count)
    return dict(zip(pieces, ids))


def some_characters(rng, alphabet):
    kept = [c for c in alphabet if rng.random() < rng.choice([0.7, 1.0])]
    return kept or [alphabet[0]]


def byte_pieces(rng):
    kept = rng.choice([0.0, 0.95, 1.0])
    return [f"<0x{b:02X}>" for b in range(256) if rng.random() < kept]


def forget_type(rng, model):
    """As in early files: the reader guesses."""
    if rng.random() < 0.2:
        del model["type"]


def word_piece(rng, alphabet):
    prefix = rng.choice(["##", "##", "", "é", "@@"])
    pieces = dict.fromkeys(["[UNK]"] if rng.random() < 0.95 else ["?"])
    for _ in range(rng.randint(1, 60)):
        piece = pick_word(rng, alphabet, 4)
        pieces[rng.choice(["", prefix]) + piece] = None
    return {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": prefix,
        "max_input_chars_per_word": rng.choice([100, 100, 5, 12, 0]),
        "vocab": number_pieces(rng, list(pieces)),
    }


def word_level(rng, alphabet):
    pieces = dict.fromkeys([pick_word(rng, alphabet, 3) for _ in range(40)] + ["<unk>"])
    return {"type": "WordLevel", "unk_token": rng.choice(["<unk>", "<unk>", "absent"]), "vocab": number_pieces(rng, list(pieces))}


def bpe(rng, alphabet):
    prefix = rng.choice([None, None, None, "##", ""])
    suffix = rng.choice([None, None, None, "</w>"])
    byte_fallback = rng.random() < 0.3
    pieces = {}
    for c in some_characters(rng, alphabet):
        for affixed in dict.fromkeys([c, c + (suffix or ""), (prefix or "") + c, (prefix or "") + c + (suffix or "")]):
            if rng.random() < 0.97:
                pieces[affixed] = None
    pieces.update(dict.fromkeys(byte_pieces(rng) if byte_fallback else []))
    unknown = rng.choice([None, "<unk>", "<unk>", "absent"])
    if rng.random() < 0.9:
        pieces["<unk>"] = None
    if not pieces:
        pieces["a"] = None
    merges, broken = [], False
    width = len((prefix or "").encode())
    for _ in range(rng.randint(0, 60)):
        names = list(pieces)
        left, right = rng.choice(names), rng.choice(names)
        if len(right.encode()) < width:
            continue
        try:
            joined = left + right.encode()[width:].decode()
        except UnicodeDecodeError:  # of these Hugging Face's makes strings that are not UTF-8
            continue
        if len(joined) > 24:
            continue
        if rng.random() < 0.999:
            pieces[joined] = None
        else:
            broken = broken or joined not in pieces
            pieces["#" * 100] = None  # Hugging Face's panics where a missing piece is the longest
        merges.append([left, right])
    if merges and rng.random() < 0.1:
        merges.append(rng.choice(merges))
    if rng.random() < 0.5 and all(" " not in part for merge in merges for part in merge):
        merges = ["#version: 0.2"] + [" ".join(merge) for merge in merges]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": prefix,
        "end_of_word_suffix": suffix,
        "fuse_unk": rng.random() < 0.5,
        "byte_fallback": byte_fallback,
        "ignore_merges": rng.random() < 0.3,
        "vocab": number_pieces(rng, list(pieces)),
        "merges": merges,
    }
    if not broken:  # else Hugging Face's takes it for a WordLevel
        forget_type(rng, model)
    return model


def unigram(rng, alphabet):
    pieces = ["<unk>"] + some_characters(rng, alphabet) + [pick_word(rng, alphabet, 5) for _ in range(rng.randint(0, 60))]
    byte_fallback = rng.random() < 0.4
    if byte_fallback:
        pieces += byte_pieces(rng)
    rng.shuffle(pieces)
    # Coarse scores tie, long ones round.
    coarse = rng.random() < 0.5
    vocabulary = [[p, rng.choice([-1.0, -2.0, -3.5, 0.0, -4]) if coarse else -rng.random() * 15] for p in pieces]
    return {
        "type": "Unigram",
        "unk_id": rng.choice([pieces.index("<unk>")] * 4 + [None, rng.randrange(len(pieces))]),
        "byte_fallback": byte_fallback,
        "vocab": vocabulary,
    }


def hugging_face_rows(model, words):
    rows = []
    for word in words:
        try:
            size = len(word.encode())  # spelled bytes of an affix run past the end there; here they get the last byte
            rows.append([[t.id, min(t.offsets[0], size - 1), min(t.offsets[1], size)] for t in model.tokenize(word)])
        except Exception:
            rows.append(None)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("probe")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", type=int, default=400, help="of each kind")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)

    requests = []
    for _ in range(arguments.models):
        for make in (word_piece, word_level, bpe, unigram):
            alphabet = rng.choice(ALPHABETS)
            model = make(rng, alphabet)
            if make is not bpe:
                forget_type(rng, model)
            words = [pick_word(rng, alphabet + rng.choice(["", "q😀"]), 14) for _ in range(40)]
            words += rng.sample(words, 5)  # again, from the caches
            names = [p if isinstance(p, str) else p[0] for p in model["vocab"]]
            words += ["".join(rng.choice(names) for _ in range(4)) for _ in range(10)]
            words += [pick_word(rng, alphabet, 300) for _ in range(2)]
            requests.append({"model": model, "words": [w for w in words if w]})

    lines = "".join(json.dumps(request, ensure_ascii=rng.random() < 0.5) + "\n" for request in requests)
    answers = subprocess.run([arguments.probe], input=lines, stdout=subprocess.PIPE, check=True, text=True).stdout.split("\n")
    compared = refused = 0
    for request, line in zip(requests, answers):
        model, words = request["model"], request["words"]
        answer = json.loads(line)
        try:
            reference = Tokenizer.from_str(json.dumps({"version": "1.0", "model": model})).model
        except BaseException as error:  # Rust panics are not Exceptions
            refused += 1
            if not isinstance(answer, dict):
                print(f"model {json.dumps(model, ensure_ascii=False)}\nexpected a refusal: {error}")
                return 1
            continue
        expected = hugging_face_rows(reference, words)
        for i, word in enumerate(words):
            got = answer if isinstance(answer, dict) else answer[i]
            if got != expected[i]:
                print(f"model {json.dumps(model, ensure_ascii=False)}\nword {word!r}\nexpected {expected[i]}\ngot      {got}")
                return 1
            compared += 1
    print(f"{len(requests)} models, {refused} refused by both; {compared} words: equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
