// EngineOptions::layer_precision, read: which layers are computed otherwise than the rest.
#pragma once

#include <string>
#include <string_view>

namespace bertie {

struct LayerPrecision {
  std::string pattern;    // of node names after the passes before assign_precision: * is any text, ? any one byte
  std::string precision;  // "int8"
};

// Of "PATTERN=P"; what stands behind the last '=' is the precision. Throws Error(invalid_argument).
LayerPrecision parse_layer_precision(const std::string& text);

// Whether all of `name` is like `pattern`.
bool matches_glob(std::string_view pattern, std::string_view name);

}  // namespace bertie
