// Any bytes as a tokenizer.json: either one clear Error, or a tokenizer that keeps its promises.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "bertie/tokenizer.h"

namespace {

void check(bool promise) {
  if (!promise) std::abort();
}

void use(const bertie::Tokenizer& tokenizer, std::string_view text) {
  try {
    const bertie::Encoding encoding = tokenizer.encode_pair(text, "pair");
    check(encoding.type_ids.size() == encoding.size() && encoding.offsets.size() == encoding.size());
    check(encoding.word_ids.size() == encoding.size() && encoding.special_tokens_mask.size() == encoding.size());
    for (const auto& [begin, end] : encoding.offsets) check(begin <= end && end <= text.size() + 4);
    for (const auto& window : tokenizer.encode_windows(text, std::nullopt, {.max_length = 8, .stride = 1}))
      check(window.size() <= 8);
    tokenizer.decode(encoding.ids, false);
  } catch (const bertie::Error&) {
    // Text that this tokenizer refuses.
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto tokenizer = bertie::Tokenizer::from_json({reinterpret_cast<const char*>(data), size});
    for (const std::string_view text :
         {"", "Hello, World! a b ab", " \xc3\xa9\xe2\x96\x81\xf0\x9f\x98\x80 e\xcc\x81 [MASK]aaaa"}) {
      use(*tokenizer, text);
    }
  } catch (const bertie::Error&) {
    // A file that is refused.
  }
  return 0;
}
