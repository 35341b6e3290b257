// Texts as the sequences that models run.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "bertie/model.h"
#include "bertie/tokenizer.h"
#include "calibration/text_sample.h"

namespace bertie::calibration {

struct EncodedText {
  size_t line = 0;
  Encoding encoding;  // without offsets, sequence_ids and word_ids
};

// By the first model's tokenizer, no longer than any of `models` takes; longer ones are cut where `truncate` or a model's own
// max_sequence_length says so. Throws Error(invalid_text) naming the line.
std::vector<EncodedText> encode_texts(std::span<const Model> models, std::span<const SampledText> texts, bool truncate);

}  // namespace bertie::calibration
