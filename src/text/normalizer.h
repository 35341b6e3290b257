// Normalizers: what a tokenizer.json's "normalizer" does to a text before it is split.
#pragma once

#include <memory>
#include <string>

#include "formats/json.h"
#include "text/aligned_text.h"

namespace bertie::text {

// Immutable and shareable between threads.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Leaves the result in `text`; `spare` is a buffer to work in.
  virtual void apply(AlignedText& text, AlignedText& spare) const = 0;
};

// From the "normalizer" object of a tokenizer.json; `file` stands for the file in errors.
// Throws Error(invalid_file) naming file and field, Error(unsupported) naming an unknown type.
std::unique_ptr<Normalizer> make_normalizer(const nlohmann::json& normalizer, const std::string& file);

// A Sequence may not nest deeper (here, and in pre-tokenizers, post-processors and decoders).
inline constexpr int kMaxNesting = 16;

}  // namespace bertie::text
