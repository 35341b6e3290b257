// Decoders: from token texts back to a text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/json.h"

namespace bertie::text {

// Immutable and shareable between threads.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the tokens; their texts end to end are the result.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

// From the "decoder" object of a tokenizer.json; `file` stands for the file in errors.
// Throws Error(invalid_file) naming file and field, Error(unsupported) naming an unknown type.
std::unique_ptr<Decoder> make_decoder(const nlohmann::json& decoder, const std::string& file);

}  // namespace bertie::text
