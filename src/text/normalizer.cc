#include "text/normalizer.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "text/bert_normalizer.h"
#include "text/byte_level.h"
#include "text/pattern.h"
#include "text/precompiled.h"
#include "text/transforms.h"

namespace bertie::text {

namespace {

// A normalizer made of one function.
template <typename Apply>
class Simple final : public Normalizer {
 public:
  explicit Simple(Apply apply) : apply_(std::move(apply)) {}
  void apply(AlignedText& text, AlignedText& spare) const override { apply_(text, spare); }

 private:
  Apply apply_;
};

template <typename Apply>
std::unique_ptr<Normalizer> simple(Apply apply) {
  return std::make_unique<Simple<Apply>>(std::move(apply));
}

void strip(bool left, bool right, AlignedText& text, AlignedText& spare) {
  const char* begin = text.text.data();
  const char* end = begin + text.text.size();
  const char* from = begin;
  const char* to = end;
  while (left && from < to) {
    const Decoded c = decode_utf8(from);
    if (!has_class(c.code_point, kSpace)) break;
    from += c.length;
  }
  while (right && to > from) {
    const Decoded c = decode_utf8_before(from, to);
    if (!has_class(c.code_point, kSpace)) break;
    to -= c.length;
  }
  if (from == begin && to == end) return;
  spare.clear();
  spare.append(text, static_cast<size_t>(from - begin), static_cast<size_t>(to - begin));
  take_result(text, spare);
}

// What is put in stands for the last byte taken out (or for what stands before an empty match).
void replace(const Pattern& pattern, const std::string& content, AlignedText& text, AlignedText& spare) {
  size_t done = 0;
  bool changed = false;
  pattern.for_each_match(text.text, [&](size_t begin, size_t end) {
    if (!changed) {
      spare.clear();
      spare.reserve(text.text.size());
      spare.limit = text.limit;
      changed = true;
    }
    spare.append(text, done, begin);
    spare.check_growth();
    spare.append(content, end == 0 ? text.start | kEmptySource : text.source[end - 1]);
    done = end;
  });
  if (!changed) return;
  spare.append(text, done, text.text.size());
  take_result(text, spare);
}

bool is_nmt_removed(uint32_t c) {
  return (c >= 0x01 && c <= 0x08) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
}

bool is_nmt_space(uint32_t c) {
  return c == 0x09 || c == 0x0a || c == 0x0c || c == 0x0d || c == 0x1680 || (c >= 0x200b && c <= 0x200f) || c == 0x2028 ||
         c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
}

void nmt(AlignedText& text, AlignedText& spare) {
  filter_characters(text, spare, [](uint32_t c) { return !is_nmt_removed(c); });
  map_characters(text, spare, [](uint32_t c) { return std::array<uint32_t, 1>{is_nmt_space(c) ? ' ' : c}; });
}

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  void apply(AlignedText& text, AlignedText& spare) const override {
    for (const auto& step : steps_) step->apply(text, spare);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

std::unique_ptr<Normalizer> make(const nlohmann::json& json, const std::string& file, int nesting);

std::unique_ptr<Normalizer> make_sequence(const JsonFields& fields, int nesting) {
  const nlohmann::json* list = fields.find("normalizers");
  if (list == nullptr || !list->is_array()) fields.refuse("normalizers", "a list");
  if (nesting >= kMaxNesting) fields.refuse("normalizers", fmt::format("nested at most {} deep", kMaxNesting));
  std::vector<std::unique_ptr<Normalizer>> steps;
  for (const auto& item : *list) steps.push_back(make(item, fields.file(), nesting + 1));
  if (steps.size() == 1) return std::move(steps.front());
  return std::make_unique<NormalizerSequence>(std::move(steps));
}

std::unique_ptr<Normalizer> make(const nlohmann::json& json, const std::string& file, int nesting) {
  const JsonFields fields(json, file, "normalizer.");
  const std::string type = fields.text("type");
  const auto form = [](bool compatibility, bool composing) {
    return simple([=](AlignedText& text, AlignedText& spare) { apply_form({compatibility, composing}, text, spare); });
  };
  if (type == "BertNormalizer") return std::make_unique<BertNormalizer>(BertNormalizer::Options::parse(fields));
  if (type == "NFC") return form(false, true);
  if (type == "NFD") return form(false, false);
  if (type == "NFKC") return form(true, true);
  if (type == "NFKD") return form(true, false);
  if (type == "Lowercase") return simple(lowercase);
  if (type == "StripAccents") {
    return simple([](AlignedText& text, AlignedText& spare) {
      filter_characters(text, spare, [](uint32_t c) { return !has_class(c, kMark); });
    });
  }
  if (type == "Strip") {
    return simple([left = fields.boolean_or("strip_left", true), right = fields.boolean_or("strip_right", true)](
                      AlignedText& text, AlignedText& spare) { strip(left, right, text, spare); });
  }
  if (type == "Replace") {
    return simple([pattern = Pattern::parse(fields), content = fields.text("content")](AlignedText& text, AlignedText& spare) {
      replace(pattern, content, text, spare);
    });
  }
  if (type == "Prepend") {
    return simple([prefix = fields.text("prepend")](AlignedText& text, AlignedText& spare) { prepend(prefix, text, spare); });
  }
  if (type == "Nmt") return simple(nmt);
  if (type == "ByteLevel") return simple(to_byte_level);
  if (type == "Precompiled") return std::make_unique<Precompiled>(fields);
  if (type == "Sequence") return make_sequence(fields, nesting);
  fail(ErrorCode::unsupported, "{}: normalizer type '{}' is not supported", file, type);
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const nlohmann::json& normalizer, const std::string& file) {
  return make(normalizer, file, 0);
}

}  // namespace bertie::text
