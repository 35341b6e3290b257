#!/usr/bin/env python3
"""Tokenizers against Hugging Face's `tokenizers`: every encoding must be equal, token for token and offset for offset.

usage: tokenizer_parity.py TOKENIZE_DUMP [--count N] [--seed N] [--only KIND ...]   compares
       tokenizer_parity.py TOKENIZE_DUMP --unicode                                  compares every code point

Per kind: `--count` texts alone, then pairs, texts without special tokens, truncation windows, and decoding.
"""
import argparse
import concurrent.futures
import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the kinds run side by side
os.environ["RUST_BACKTRACE"] = "0"  # where Hugging Face refuses by a panic

from tokenizers import Tokenizer  # noqa: E402

from sample_texts import Generator  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"


def load(name):
    path = ROOT / "models" / "minilm-l6-mlm" / "tokenizer.json" if name == "bert_uncased" else DATA / "tokenizers" / f"{name}.json"
    return json.loads(path.read_text())


def added(content, **flags):
    return {"id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True,
            "special": False, **flags}


ADDED = [added("yesterday"), added("new token", single_word=True), added("newtoken", lstrip=True, rstrip=True),
         added("été", normalized=False), added("[ MASK ]", special=True, normalized=True, lstrip=True), added("  "),
         added("i", single_word=True, rstrip=True), added("ing", normalized=False, single_word=True), added("No")]


def variants():
    """(name, tokenizer.json document): the main kinds, and combinations of everything else."""
    main = {name: load(name) for name in ("bert_uncased", "bert_cased", "roberta", "xlm_roberta", "albert", "word_level")}
    yield from main.items()

    def variant(base, **changes):
        document = copy.deepcopy(main[base])
        for key, value in changes.items():
            document[key] = value
        return document

    def with_added(base, **changes):
        document = variant(base, **changes)
        document["added_tokens"] = document["added_tokens"] + ADDED
        return document

    bert = lambda **flags: {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,  # noqa: E731
                            "strip_accents": None, "lowercase": True, **flags}
    yield "bert_added", with_added("bert_uncased")
    yield "bert_no_clean", variant("bert_uncased", normalizer=bert(clean_text=False))
    yield "bert_keep_accents", variant("bert_uncased", normalizer=bert(strip_accents=False))
    yield "bert_only_accents", variant("bert_cased", normalizer=bert(strip_accents=True, lowercase=False, handle_chinese_chars=False))
    steps = [{"type": name} for name in ("NFKC", "NFD", "StripAccents", "NFC", "NFKD", "Lowercase", "Nmt")]
    yield "forms", with_added("bert_cased", normalizer={"type": "Sequence", "normalizers": steps})
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"):
        yield f"normalizer_{name}", variant("albert", normalizer={"type": name})
    yield "strip", variant("bert_cased", normalizer={"type": "Sequence", "normalizers": [
        {"type": "Strip", "strip_left": True, "strip_right": False}, {"type": "Prepend", "prepend": "an "},
        {"type": "Replace", "pattern": {"String": "e"}, "content": "oo"},
        {"type": "Replace", "pattern": {"Regex": "[0-9]+|\\s{2,}"}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": "x*"}, "content": "-"}]})
    yield "strip_right", variant("bert_cased", normalizer={"type": "Strip", "strip_left": False, "strip_right": True})
    yield "byte_level_normalizer", with_added("roberta", normalizer={"type": "ByteLevel"}, pre_tokenizer=None)

    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    yield "roberta_prefix", with_added("roberta", pre_tokenizer=byte_level, post_processor={
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": True})
    yield "byte_level_untrimmed", variant("roberta", post_processor={**byte_level, "trim_offsets": False})
    yield "byte_level_trimmed", variant("roberta", post_processor=byte_level)
    template = main["xlm_roberta"]["post_processor"]
    yield "byte_level_template", variant("roberta", post_processor={"type": "Sequence", "processors": [byte_level, template]},
                                         normalizer={"type": "NFC"})
    yield "byte_level_whole", variant("roberta", pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
                                               " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
         "behavior": "Isolated", "invert": False}, {**byte_level, "add_prefix_space": False, "use_regex": False}]})

    for scheme in ("first", "never", "always"):
        for split in (True, False):
            metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
            yield f"metaspace_{scheme}_{split}", with_added("xlm_roberta", pre_tokenizer=metaspace, decoder=metaspace)
    yield "unigram_plain", variant("xlm_roberta", normalizer=None, post_processor=None, decoder=None)

    pieces = [{"type": name} for name in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")]
    pieces += [{"type": "CharDelimiterSplit", "delimiter": "e"}, {"type": "FixedLength", "length": 3},
               {"type": "Digits", "individual_digits": True}, {"type": "Digits", "individual_digits": False}]
    behaviors = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
    pieces += [{"type": "Punctuation", "behavior": behavior} for behavior in behaviors]
    for invert in (False, True):
        pieces += [{"type": "Split", "pattern": {"Regex": "[aeiou]+|\\d|\\s"}, "behavior": behavior, "invert": invert}
                   for behavior in behaviors]
    pieces += [{"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext", "invert": False},
               {"type": "Split", "pattern": {"Regex": "b*"}, "behavior": "Isolated", "invert": False}]
    for index, piece in enumerate(pieces):
        yield f"pieces_{index}_{piece['type']}", variant("albert", pre_tokenizer=piece)
    yield "pieces_sequence", with_added("bert_uncased", pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "Digits", "individual_digits": True}]})
    yield "no_pre_tokenizer", variant("albert", pre_tokenizer=None)
    yield "word_level_added", with_added("word_level")
    decoder = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    yield "decoder_sequence", variant("xlm_roberta", decoder=decoder)
    yield "decoder_bpe", variant("roberta", decoder={"type": "BPEDecoder", "suffix": "e"})


MAIN = ("bert_uncased", "bert_cased", "roberta", "xlm_roberta", "albert", "word_level")


def encode(tokenizer, request):
    """Hugging Face's answer to a request, as tokenize_dump writes it."""
    if "decode" in request:
        return {"text": tokenizer.decode(request["decode"], skip_special_tokens=request["skip"])}
    if "tokens" in request:
        return {"tokens": [tokenizer.id_to_token(i) or "" for i in request["tokens"]]}
    truncation = request.get("truncation")
    if truncation:
        tokenizer.enable_truncation(**truncation)
    try:
        encoding = tokenizer.encode(request["text"], request.get("pair"), add_special_tokens=request.get("special", True))
    finally:
        if truncation:
            tokenizer.no_truncation()
    none = lambda values: [-1 if value is None else value for value in values]  # noqa: E731
    return {"encodings": [[e.ids, e.type_ids, [list(pair) for pair in e.offsets], none(e.sequence_ids), none(e.word_ids),
                           e.special_tokens_mask] for e in [encoding, *encoding.overflowing]]}


def make_requests(generator, count, vocabulary_size):
    random = generator.random
    texts = generator.texts(count)
    requests = [{"text": text} for text in texts]
    some = lambda: random.choice(texts)  # noqa: E731
    for _ in range(count // 8):
        requests.append({"text": some(), "pair": some()})
        requests.append({"text": some(), "special": False})
        requests.append({"text": some(), "pair": some(), "special": False})
        request = {"text": some() + " " + some(), "special": random.random() < 0.8}
        strategy = random.choice(["longest_first", "only_first", "only_second"])
        if strategy == "only_second" or random.random() < 0.6:
            request["pair"] = some() + " " + some()
        length = random.randint(6, 24)
        request["truncation"] = {"max_length": length, "stride": random.randint(0, 3), "strategy": strategy}
        requests.append(request)
        ids = [random.randrange(vocabulary_size) for _ in range(random.randint(0, 12))]
        requests.append({"decode": ids, "skip": random.random() < 0.5})
    requests.append({"tokens": list(range(vocabulary_size + 3))})
    return requests


def compare(program, name, document, count, seed, limit=3):
    """(requests compared, refused by both, descriptions of differences)."""
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    real = [line for file in ("calibration.txt", "evaluation.txt") for line in (DATA / file).read_text().splitlines()]
    requests = make_requests(Generator(f"{seed} {name}", real), count, tokenizer.get_vocab_size())
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(document))
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        run = subprocess.run([program, str(path)], input=lines, capture_output=True, text=True)
    if run.returncode != 0:
        return 0, 0, [f"{name}: tokenize_dump failed: {run.stderr.strip()}"]
    # Not splitlines(): the answers may hold any line separator but \n.
    answers = run.stdout.split("\n")[:-1]
    if len(answers) != len(requests):
        return 0, 0, [f"{name}: {len(answers)} answers to {len(requests)} requests"]
    refused, differences = 0, []
    for request, line in zip(requests, answers):
        answer = json.loads(line)
        try:
            expected = encode(tokenizer, request)
        except BaseException as error:  # a panic of the Rust code is no Exception
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            expected = {"error": str(error)}
        if document["post_processor"] is None and "truncation" in request:
            # Hugging Face loses track of whose tokens the further windows hold.
            for encodings in (expected.get("encodings", []), answer.get("encodings", [])):
                for encoding in encodings[1:]:
                    encoding[3] = None
        if "error" in expected and "error" in answer:
            refused += 1
        elif answer != expected:
            differences.append(f"{name}: {json.dumps(request)}\n  expected {json.dumps(expected)[:1500]}\n  got      {line[:1500]}")
    shown = differences[:limit]
    if len(differences) > limit:
        shown.append(f"{name}: {len(differences)} differences in all")
    return len(requests), refused, shown


def compare_unicode(program):
    """Every code point through everything that looks at classes or mappings of code points."""
    forms = [{"type": name} for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt")]
    forms += [{"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": True, "strip_accents": strip, "lowercase": lower}
              for clean, strip, lower in ((True, False, False), (False, True, False), (True, True, True))]
    splits = [{"type": "BertPreTokenizer"}, {"type": "Whitespace"}, {"type": "WhitespaceSplit"},
              {"type": "Punctuation", "behavior": "Isolated"}, {"type": "Digits", "individual_digits": True},
              {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}]
    cases = [(form, {"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated", "invert": False}) for form in forms]
    cases += [(None, split) for split in splits]
    differing = 0
    for normalizer, split in cases:
        # Every byte is a token, so that ids show the text and offsets the alignment.
        byte_tokens = {f"<0x{byte:02X}>": byte for byte in range(256)}
        model = {"type": "BPE", "vocab": {"<unk>": 256, **byte_tokens}, "merges": [], "byte_fallback": True, "unk_token": "<unk>"}
        document = {"version": "1.0", "added_tokens": [], "normalizer": normalizer, "pre_tokenizer": split,
                    "post_processor": None, "decoder": None, "model": model}
        tokenizer = Tokenizer.from_str(json.dumps(document))
        texts = [f"a{chr(code)}b \u0323{chr(code)}\u0301 A{chr(code)}\u0334" for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tokenizer.json"
            path.write_text(json.dumps(document))
            answers = subprocess.run([program, str(path)], input=lines, capture_output=True, text=True, check=True).stdout.split("\n")
        wrong = [text for text, line in zip(texts, answers) if json.loads(line) != encode(tokenizer, {"text": text})]
        differing += len(wrong)
        print(f"{normalizer or split}: {len(wrong)} of {len(texts)} differ", " ".join(f"{ord(text[1]):X}" for text in wrong[:40]))
    return differing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=20000, help="texts of each main kind; a tenth of it for each combination")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--unicode", action="store_true")
    arguments = parser.parse_args()
    if arguments.unicode:
        sys.exit(1 if compare_unicode(arguments.program) else 0)

    chosen = [(name, document) for name, document in variants() if not arguments.only or name in arguments.only]
    compared, failed = 0, False
    # A panic also writes to stderr.
    silence = lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # noqa: E731
    with concurrent.futures.ProcessPoolExecutor(max_workers=os.cpu_count(), initializer=silence) as pool:
        futures = {name: pool.submit(compare, arguments.program, name, document,
                                     arguments.count if name in MAIN else max(arguments.count // 20, 1), arguments.seed)
                   for name, document in chosen}
        for name, future in futures.items():
            count, refused, differences = future.result()
            compared += count
            print(f"{name}: {count} compared, {refused} refused by both" + (f", {len(differences)} shown" if differences else ""))
            for difference in differences:
                failed = True
                print(difference)
    print(f"{compared} requests compared over {len(chosen)} tokenizers")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
