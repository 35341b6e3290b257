#include "formats/json.h"

#include <set>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"

namespace bertie {
namespace {

using nlohmann::json;

// The parser below has no recursion of its own, but those who walk the result may.
void check_depth(std::string_view text, const std::string& file, int max_depth) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > max_depth) fail(ErrorCode::invalid_file, "{}: JSON nested deeper than {} levels", file, max_depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

json parse(std::string_view text, const std::string& file, int max_depth, const json::parser_callback_t& callback) {
  check_depth(text, file, max_depth);
  try {
    return json::parse(text.begin(), text.end(), callback);
  } catch (const json::parse_error& error) {
    fail(ErrorCode::invalid_file, "{}: not valid JSON at byte {}", file, error.byte);
  } catch (const json::exception&) {
    fail(ErrorCode::invalid_file, "{}: a JSON number is out of range", file);
  }
}

}  // namespace

json parse_json(std::string_view text, const std::string& file, int max_depth) { return parse(text, file, max_depth, nullptr); }

json parse_json_unique(std::string_view text, const std::string& file, int max_depth) {
  std::vector<std::set<std::string>> names;  // of the objects that are open
  return parse(text, file, max_depth, [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) names.emplace_back();
    if (event == json::parse_event_t::object_end) names.pop_back();
    if (event == json::parse_event_t::key && !names.back().insert(parsed.get_ref<const std::string&>()).second) {
      fail(ErrorCode::invalid_file, "{}: '{}' stands twice in one JSON object", file, parsed.get_ref<const std::string&>());
    }
    return true;
  });
}

json read_json_file(const std::string& path) { return parse_json(read_text_file(path), path); }

JsonFields::JsonFields(const json& object, std::string file, std::string prefix)
    : object_(object), file_(std::move(file)), prefix_(std::move(prefix)) {
  if (object_.is_object()) return;
  if (prefix_.empty()) fail(ErrorCode::invalid_file, "{}: must hold a JSON object", file_);
  fail(ErrorCode::invalid_file, "{}: field '{}' must be an object", file_, prefix_.substr(0, prefix_.size() - 1));
}

const json* JsonFields::find(std::string_view name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const json& JsonFields::require(std::string_view name) const {
  const json* value = find(name);
  if (!value) fail(ErrorCode::invalid_file, "{}: field '{}{}' is missing", file_, prefix_, name);
  return *value;
}

void JsonFields::refuse(std::string_view name, std::string_view expected) const {
  fail(ErrorCode::invalid_file, "{}: field '{}{}' must be {}", file_, prefix_, name, expected);
}

int64_t JsonFields::integer(std::string_view name, int64_t low, int64_t high) const {
  const json& value = require(name);
  const bool fits = value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(kMax) : value.is_number_integer();
  if (fits && value.get<int64_t>() >= low && value.get<int64_t>() <= high) return value.get<int64_t>();
  if (high == kMax) refuse(name, fmt::format("an integer of at least {}", low));
  refuse(name, fmt::format("an integer from {} to {}", low, high));
}

int64_t JsonFields::integer_or(std::string_view name, int64_t low, int64_t high, int64_t fallback) const {
  return has(name) ? integer(name, low, high) : fallback;
}

double JsonFields::real_or(std::string_view name, double low, double high, double fallback) const {
  const json* value = find(name);
  if (!value) return fallback;
  if (value->is_number() && value->get<double>() >= low && value->get<double>() <= high) return value->get<double>();
  refuse(name, fmt::format("a number from {} to {}", low, high));
}

bool JsonFields::boolean_or(std::string_view name, bool fallback) const {
  const json* value = find(name);
  if (!value) return fallback;
  if (!value->is_boolean()) refuse(name, "true or false");
  return value->get<bool>();
}

std::string JsonFields::text(std::string_view name) const {
  const json& value = require(name);
  if (!value.is_string()) refuse(name, "a string");
  return value.get<std::string>();
}

std::string JsonFields::text_or(std::string_view name, std::string fallback) const {
  return has(name) ? text(name) : std::move(fallback);
}

}  // namespace bertie
