// JSON as the program writes it: fields in the order given, floats by their shortest exact form.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace bertie::cli {

using Json = nlohmann::basic_json<nlohmann::ordered_map, std::vector, std::string, bool, std::int64_t, std::uint64_t, float>;

// One line. Bytes that are not UTF-8 become U+FFFD.
inline std::string to_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Of a measured number the digits that mean something.
inline float rounded(double value) { return static_cast<float>(value); }

}  // namespace bertie::cli
