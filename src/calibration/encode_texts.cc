#include "calibration/encode_texts.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "tasks/characters.h"
#include "tasks/task_model.h"

namespace bertie::calibration {

std::vector<EncodedText> encode_texts(std::span<const Model> models, std::span<const SampledText> texts, bool truncate) {
  int64_t longest = std::numeric_limits<int64_t>::max();
  for (const Model& model : models) {
    const ModelInfo& info = model.info();
    longest = std::min({longest, tasks::longest_text(model), info.max_sequence_length.value_or(longest)});
    truncate = truncate || info.max_sequence_length.has_value();
  }
  const Model& first = models.front();
  const tasks::TextEncoder encoder(first, longest, truncate);
  std::vector<EncodedText> encoded;
  for (const SampledText& text : texts) {
    try {
      Encoding encoding = encoder.encode(first.info().lower_case ? tasks::lower_case(text.text) : text.text);
      encoding.offsets = {};  // never read, and most of the memory
      encoding.sequence_ids = encoding.word_ids = {};
      encoded.push_back({text.line, std::move(encoding)});
    } catch (const Error& error) {
      fail(error.code(), "line {}: {}", text.line, error.what());
    }
  }
  return encoded;
}

}  // namespace bertie::calibration
