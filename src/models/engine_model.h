// A model from an engine file: what save_engine (src/engine/save_engine.cc) wrote. Sections, in this order:
//
//   provenance  JSON: how the file was made (Model::provenance)
//   model       JSON: ModelInfo
//   network     JSON: the network after the passes that keep it logical, [batch, sequence] (network_json.h)
//   tensors     JSON: name, dtype, shape, layout, offset and bytes of each constant in `weights`
//   tokenizer   Tokenizer::json(); absent where the model has none
//   weights     the constants' bytes, each on a boundary of kWeightAlignment
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "models/hugging_face.h"

namespace bertie::models {

inline constexpr size_t kWeightAlignment = 64;

// Maps the file; the network's constants lie in the mapping. Throws Error(invalid_file, unsupported) naming file and section,
// Error(not_found, io).
LoadedModel load_engine_model(const std::string& path);

// As above, for a file whose bytes are kept alive by `owner` and aligned to kWeightAlignment.
LoadedModel parse_engine_model(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner,
                               const std::string& path);

}  // namespace bertie::models
