// Texts to measure on: one a line, of many a sample.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "calibration/text_sample.h"

namespace bertie::cli {

struct TextData {
  std::string path;  // "-": standard input
  size_t max_texts = 10000;
  uint64_t seed = 0;

  // --data, --max-texts and --seed.
  void add(CLI::App& command);
  // Says on standard error where it is a sample. Throws Error(invalid_argument) where there is no text, Error(invalid_text), Error(io).
  std::vector<calibration::SampledText> read() const;
};

}  // namespace bertie::cli
