// The first byte picks the file, the rest is its content: an Error or a checked struct.
#include <cstdint>
#include <string_view>

#include "bertie/base.h"
#include "formats/hugging_face_config.h"
#include "formats/sentence_transformers_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0]) {
      case 'c': bertie::parse_hugging_face_config(text, "fuzz"); break;
      case 'm': bertie::parse_sentence_modules(text, "fuzz"); break;
      case 'p': bertie::parse_sentence_pooling(text, "fuzz"); break;
      case 'd': bertie::parse_sentence_dense(text, "fuzz"); break;
      case 'l': bertie::parse_sentence_limits(text, "fuzz"); break;
      case 't': bertie::tokenizer_truncation(text); break;
      case 'x': bertie::tokenizer_model_max_length(text); break;
      default: break;
    }
  } catch (const bertie::Error&) {
  }
  return 0;
}
