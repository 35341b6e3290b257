// Plain ONNX structs to a file: what onnx_file.h reads, the other way round.
#pragma once

#include <cstdint>
#include <string>

#include "formats/onnx_file.h"

namespace bertie::onnx {

// The file's bytes, the same for the same model. Throws Error(unsupported) where they would pass 2 GiB or an attribute is of a kind
// that bertie does not write.
std::string format_onnx(const Model& model);

// Writes `path`; where the weights are more than `largest_inline` bytes they go to `path`.data, each on a page of its own, and only
// then does `path` appear. Weights are not copied. Throws Error(io) too.
void write_onnx(const Model& model, const std::string& path, int64_t largest_inline);

}  // namespace bertie::onnx
