// Calibration as a JSON file: numbers in the shortest form that reads back to the same float, one layer after another by name, and a
// checksum of all of it, so that a change by hand shows.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cmath>
#include <iterator>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "bertie/calibration.h"
#include "formats/json.h"

namespace bertie {
namespace {

constexpr int64_t kVersion = 1;
constexpr std::string_view kFormat = "bertie calibration";
constexpr double kMaxLoss = std::numeric_limits<double>::max();

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void write_numbers(std::string& text, std::string_view name, const std::vector<float>& numbers) {
  if (!numbers.empty()) fmt::format_to(std::back_inserter(text), ",\n   \"{}\":[{}]", name, fmt::join(numbers, ","));
}

// One list an output channel, each column as its distance from the one before (the first from -1), which is short.
void write_columns(std::string& text, std::string_view name, const std::vector<std::vector<int32_t>>& lists) {
  if (lists.empty()) return;
  fmt::format_to(std::back_inserter(text), ",\n   \"{}\":[", name);
  for (size_t i = 0; i < lists.size(); ++i) {
    text += i == 0 ? "[" : ",[";
    int32_t before = -1;
    for (const int32_t column : lists[i]) {
      fmt::format_to(std::back_inserter(text), "{}{}", before < 0 ? "" : ",", column - before);
      before = column;
    }
    text += "]";
  }
  text += "]";
}

// A line about precision `auto`; empty: it was not asked.
std::string choice_of(const Calibration& calibration) {
  if (calibration.max_loss == 0) return "";
  std::vector<std::string> kept;
  for (const auto& [name, loss] : calibration.kept) kept.push_back(fmt::format("{}:{}", quoted(name), loss));
  return fmt::format(" \"max_loss\":{},\"kept\":{{{}}},\n", calibration.max_loss, fmt::join(kept, ","));
}

// Everything but the checksum, and the end.
std::string text_of(const Calibration& calibration) {
  std::string text = fmt::format(
      "{{\"format\":\"{}\",\"version\":{},\n \"method\":{},\n \"model_hash\":{},\n \"data_hash\":{},\n "
      "\"texts\":{},\"tokens\":{},\n"
      "{} \"layers\":{{",
      kFormat, kVersion, quoted(calibration.method), quoted(calibration.model_hash), quoted(calibration.data_hash),
      calibration.texts, calibration.tokens, choice_of(calibration));
  const char* separator = "";
  for (const auto& [name, layer] : calibration.layers) {
    fmt::format_to(std::back_inserter(text), "{}\n  {}:{{\"scale\":{},\"lowest\":{},\"highest\":{}", separator, quoted(name),
                   layer.scale, layer.lowest, layer.highest);
    write_numbers(text, "migration", layer.migration);
    write_numbers(text, "shift", layer.shift);
    write_numbers(text, "mean", layer.mean);
    write_columns(text, "other_neighbours", layer.other_neighbours);
    text += "}";
    separator = ",";
  }
  return text + "},\n";
}

std::string checksum_of(const std::string& text) { return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size())); }

std::vector<float> read_numbers(const JsonFields& fields, std::string_view name, bool positive) {
  const std::string expected = positive ? "a list of finite numbers above 0" : "a list of finite numbers";
  const nlohmann::json* list = fields.find(name);
  std::vector<float> numbers;
  if (!list) return numbers;
  if (!list->is_array()) fields.refuse(name, expected);
  for (const nlohmann::json& json : *list) {
    const float number = json.is_number() ? json.get<float>() : std::nanf("");
    if (!std::isfinite(number) || (positive && number <= 0)) fields.refuse(name, expected);
    numbers.push_back(number);
  }
  return numbers;
}

std::vector<std::vector<int32_t>> read_columns(const JsonFields& fields, std::string_view name) {
  constexpr const char* kExpected = "lists of distances between columns, each above 0";
  const nlohmann::json* lists = fields.find(name);
  std::vector<std::vector<int32_t>> result;
  if (!lists) return result;
  if (!lists->is_array()) fields.refuse(name, kExpected);
  for (const nlohmann::json& list : *lists) {
    if (!list.is_array()) fields.refuse(name, kExpected);
    int64_t column = -1;
    result.emplace_back();
    for (const nlohmann::json& json : list) {
      const int64_t distance = json.is_number_integer() ? json.get<int64_t>() : 0;
      if (distance <= 0 || distance > std::numeric_limits<int32_t>::max() - column) fields.refuse(name, kExpected);
      column += distance;
      result.back().push_back(static_cast<int32_t>(column));
    }
  }
  return result;
}

TensorCalibration read_layer(const nlohmann::json& json, const std::string& path, const std::string& name) {
  const JsonFields fields(json, path, fmt::format("layers.{}.", name));
  constexpr double kMax = std::numeric_limits<float>::max();
  TensorCalibration layer;
  layer.scale = static_cast<float>(fields.real_or("scale", 0, kMax, 0));
  if (!(layer.scale > 0)) fields.refuse("scale", "a number above 0");
  layer.lowest = static_cast<float>(fields.real_or("lowest", -kMax, kMax, 0));
  layer.highest = static_cast<float>(fields.real_or("highest", -kMax, kMax, 0));
  layer.migration = read_numbers(fields, "migration", true);
  layer.shift = read_numbers(fields, "shift", false);
  layer.mean = read_numbers(fields, "mean", false);
  layer.other_neighbours = read_columns(fields, "other_neighbours");
  size_t extent = 0;
  for (const auto* numbers : {&layer.migration, &layer.shift, &layer.mean}) {
    if (numbers->empty()) continue;
    if (extent != 0 && numbers->size() != extent) {
      fail(ErrorCode::invalid_file, "{}: layer '{}': migration, shift and mean are lists of {} and {} numbers", path, name,
           extent, numbers->size());
    }
    extent = numbers->size();
  }
  return layer;
}

}  // namespace

Calibration Calibration::load(const std::string& path) {
  const nlohmann::json json = read_json_file(path);
  const JsonFields fields(json, path);
  if (fields.text_or("format", "") != kFormat) fail(ErrorCode::invalid_file, "{}: it is no calibration cache", path);
  if (fields.integer("version", 1, JsonFields::kMax) != kVersion)
    fail(ErrorCode::unsupported, "{}: a calibration cache of another version; calibrate again", path);
  Calibration calibration;
  calibration.method = fields.text("method");
  calibration.model_hash = fields.text("model_hash");
  calibration.data_hash = fields.text("data_hash");
  calibration.texts = static_cast<uint64_t>(fields.integer("texts", 0, JsonFields::kMax));
  calibration.tokens = static_cast<uint64_t>(fields.integer("tokens", 0, JsonFields::kMax));
  const nlohmann::json* layers = fields.find("layers");
  if (!layers || !layers->is_object()) fields.refuse("layers", "an object");
  for (const auto& [name, layer] : layers->items()) calibration.layers.emplace(name, read_layer(layer, path, name));
  calibration.max_loss = fields.real_or("max_loss", 0, kMaxLoss, 0);
  if (const nlohmann::json* kept = fields.find("kept")) {
    if (!kept->is_object()) fields.refuse("kept", "an object");
    const JsonFields losses(*kept, path, "kept.");
    for (const auto& [name, loss] : kept->items()) calibration.kept[name] = losses.real_or(name, 0, kMaxLoss, 0);
  }
  if (fields.text("checksum") != checksum_of(text_of(calibration)))
    fail(ErrorCode::invalid_file, "{}: it was changed since it was made (its checksum differs); calibrate again", path);
  return calibration;
}

void Calibration::save(const std::string& path) const {
  const std::string text = text_of(*this);
  write_file_atomically(path, fmt::format("{} \"checksum\":\"{}\"}}\n", text, checksum_of(text)));
}

void Calibration::require_made_for(const std::string& model_weights_hash, const std::string& path) const {
  if (model_hash != model_weights_hash) {
    fail(ErrorCode::invalid_argument, "{}: made for another model, whose weights' hash is {}; this one's is {}", path, model_hash,
         model_weights_hash);
  }
}

}  // namespace bertie
