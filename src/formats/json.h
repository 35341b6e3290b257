// JSON from untrusted files: parsed with bounded depth, read through getters whose errors name the file and the field.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace bertie {

inline constexpr int kMaxJsonDepth = 64;

// `file` names the source in errors. Throws Error(invalid_file) on bad JSON, invalid UTF-8 or more than `max_depth` levels.
nlohmann::json parse_json(std::string_view text, const std::string& file, int max_depth = kMaxJsonDepth);
// As parse_json, and a name that stands twice in one object is an error too.
nlohmann::json parse_json_unique(std::string_view text, const std::string& file, int max_depth = kMaxJsonDepth);
// Throws Error(not_found, io) too.
nlohmann::json read_json_file(const std::string& path);

// A JSON object's fields. An absent field and a null are the same. Throws Error(invalid_file): "FILE: field 'x' must be ...".
class JsonFields {
 public:
  static constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

  // `object` must outlive this. Throws where it is not an object; `prefix` precedes the names in errors ("truncation.").
  JsonFields(const nlohmann::json& object, std::string file, std::string prefix = "");

  const nlohmann::json* find(std::string_view name) const;  // nullptr where absent or null
  bool has(std::string_view name) const { return find(name) != nullptr; }

  // The required field, an integer in [low, high].
  int64_t integer(std::string_view name, int64_t low, int64_t high) const;
  int64_t integer_or(std::string_view name, int64_t low, int64_t high, int64_t fallback) const;
  double real_or(std::string_view name, double low, double high, double fallback) const;
  bool boolean_or(std::string_view name, bool fallback) const;
  std::string text(std::string_view name) const;
  std::string text_or(std::string_view name, std::string fallback) const;

  // Throws Error(invalid_file) "FILE: field 'name' must be `expected`".
  [[noreturn]] void refuse(std::string_view name, std::string_view expected) const;
  const std::string& file() const { return file_; }

 private:
  const nlohmann::json& require(std::string_view name) const;

  const nlohmann::json& object_;
  std::string file_;
  std::string prefix_;
};

}  // namespace bertie
