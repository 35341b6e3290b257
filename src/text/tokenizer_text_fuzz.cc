// Any bytes as a text, on three small tokenizers that between them have every kind of step; the first byte chooses.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "bertie/tokenizer.h"

namespace {

constexpr const char* kWordPiece = R"({"version": "1.0", "added_tokens": [
  {"id": 0, "content": "[MASK]", "special": true, "lstrip": true}, {"id": 0, "content": "New", "single_word": true},
  {"id": 0, "content": "  ", "rstrip": true}],
 "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
 "pre_tokenizer": {"type": "BertPreTokenizer"},
 "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 1], "cls": ["[CLS]", 2]},
 "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
 "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 10,
  "vocab": {"[UNK]": 0, "[SEP]": 1, "[CLS]": 2, "a": 3, "##a": 4, "b": 5, "##b": 6, "ab": 7, ",": 8, "e": 9, "##e": 10}}})";

constexpr const char* kBytePairs =
    R"({"version": "1.0", "added_tokens": [{"id": 0, "content": "<mask>", "special": true, "lstrip": true}],
 "normalizer": {"type": "NFKC"},
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
 "post_processor": {"type": "RobertaProcessing", "sep": ["a", 0], "cls": ["b", 1], "trim_offsets": true, "add_prefix_space": true},
 "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
 "model": {"type": "BPE", "unk_token": "?", "vocab": {"a": 0, "b": 1, "\u0120": 2, "\u0120a": 3, "ab": 4, "?": 5, "\u00c3": 6},
  "merges": ["\u0120 a", "a b"]}})";

constexpr const char* kUnigram = R"({"version": "1.0", "added_tokens": [{"id": 0, "content": "ok", "normalized": true}],
 "normalizer": {"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "NFD"}, {"type": "StripAccents"}, {"type": "NFC"},
  {"type": "Lowercase"}, {"type": "Replace", "pattern": {"Regex": " {2,}|z*"}, "content": " "}, {"type": "Strip"},
  {"type": "Prepend", "prepend": "x"}]},
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": false},
  {"type": "Split", "pattern": {"Regex": "[aeiou]+"}, "behavior": "MergedWithPrevious", "invert": false},
  {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"}]},
 "post_processor": null, "decoder": {"type": "Metaspace", "replacement": "\u2581"},
 "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["\u2581", -1], ["a", -2.5], ["\u2581a", -3], ["b", -4]]}})";

void check(bool promise) {
  if (!promise) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::array<std::shared_ptr<const bertie::Tokenizer>, 3> tokenizers{
      bertie::Tokenizer::from_json(kWordPiece), bertie::Tokenizer::from_json(kBytePairs), bertie::Tokenizer::from_json(kUnigram)};
  if (size == 0) return 0;
  const bertie::Tokenizer& tokenizer = *tokenizers[data[0] % tokenizers.size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const bertie::Encoding encoding = tokenizer.encode(text, false);
    for (const auto& [begin, end] : encoding.offsets) check(begin <= end && end <= text.size());
    for (size_t i = 1; i < encoding.size(); ++i) check(encoding.word_ids[i] >= encoding.word_ids[i - 1]);
    for (const int32_t id : encoding.ids) check(id >= 0 && static_cast<size_t>(id) < tokenizer.vocabulary_size());
    tokenizer.decode(encoding.ids, false);
    const bertie::Truncation truncation{.max_length = 8, .stride = 2, .strategy = bertie::TruncationStrategy::only_first};
    const auto windows = tokenizer.encode_windows(text, std::nullopt, truncation, false);
    check(windows.back().size() <= 8 && (windows.size() > 1) == (encoding.size() > 8));
    if (encoding.size() != 0) check(windows.back().ids.back() == encoding.ids.back());
  } catch (const bertie::Error& error) {
    check(error.code() == bertie::ErrorCode::invalid_text);
  }
  return 0;
}
