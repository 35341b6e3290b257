#include "inspect_calibration.h"

#include <algorithm>
#include <fstream>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "bertie/calibration.h"
#include "json.h"
#include "output.h"

namespace bertie::cli {
namespace {

// The least and the largest of a channel; both `otherwise` where the list is empty.
std::pair<float, float> extremes(const std::vector<float>& list, float otherwise) {
  if (list.empty()) return {otherwise, otherwise};
  const auto [least, most] = std::minmax_element(list.begin(), list.end());
  return {*least, *most};
}

// Weights that are not rounded to the nearest.
size_t others(const TensorCalibration& layer) {
  size_t count = 0;
  for (const auto& columns : layer.other_neighbours) count += columns.size();
  return count;
}

// The layers that precision `auto` keeps in float32, the dearest first.
std::vector<std::pair<std::string, double>> by_loss(const Calibration& calibration) {
  std::vector<std::pair<std::string, double>> kept(calibration.kept.begin(), calibration.kept.end());
  std::stable_sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return kept;
}

Json to_json(const Calibration& calibration, const std::string& path) {
  Json layers = Json::array();
  for (const auto& [name, layer] : calibration.layers) {
    const auto [least, most] = extremes(layer.migration, 1);
    const auto [lowest, highest] = extremes(layer.shift, 0);
    layers.push_back({{"name", name},
                      {"scale", layer.scale},
                      {"lowest", layer.lowest},
                      {"highest", layer.highest},
                      {"channels", std::max({layer.migration.size(), layer.shift.size(), layer.mean.size()})},
                      {"migration", {least, most}},
                      {"shift", {lowest, highest}},
                      {"bias_corrected", !layer.mean.empty()},
                      {"other_neighbours", others(layer)}});
  }
  Json kept = Json::array();
  for (const auto& [name, loss] : by_loss(calibration)) kept.push_back({{"layer", name}, {"loss", rounded(loss)}});
  return {{"calibration", path},
          {"method", calibration.method},
          {"model_hash", calibration.model_hash},
          {"data_hash", calibration.data_hash},
          {"texts", calibration.texts},
          {"tokens", calibration.tokens},
          {"max_loss", calibration.max_loss > 0 ? Json(rounded(calibration.max_loss)) : Json()},
          {"kept", std::move(kept)},
          {"layers", std::move(layers)}};
}

void print(const Calibration& calibration, const std::string& path) {
  write_line(fmt::format("{}: calibration of {} layers by {}", path, calibration.layers.size(), calibration.method));
  write_line(fmt::format("  model {}\n  data  {}: {} texts, {} tokens", calibration.model_hash, calibration.data_hash,
                         calibration.texts, calibration.tokens));
  write_line(fmt::format("  {:>10} {:>9} {:>9}  {:<19} {:<19} {:>8} {:>5} {:>7}  {}", "scale", "lowest", "highest", "migration",
                         "shift", "channels", "bias", "others", "layer"));
  for (const auto& [name, layer] : calibration.layers) {
    const auto [least, most] = extremes(layer.migration, 1);
    const auto [lowest, highest] = extremes(layer.shift, 0);
    const size_t channels = std::max({layer.migration.size(), layer.shift.size(), layer.mean.size()});
    write_line(fmt::format("  {:>10.3g} {:>9.3g} {:>9.3g}  {:<19} {:<19} {:>8} {:>5} {:>7}  {}", layer.scale, layer.lowest,
                           layer.highest, fmt::format("{:.3g} to {:.3g}", least, most),
                           fmt::format("{:.3g} to {:.3g}", lowest, highest), channels, layer.mean.empty() ? "as is" : "yes",
                           others(layer), name));
  }
  if (calibration.max_loss == 0) return;
  write_line(fmt::format("  precision auto, loss at most {:.3g}%: {} of {} layers stay in float32", 100 * calibration.max_loss,
                         calibration.kept.size(), calibration.layers.size()));
  for (const auto& [name, loss] : by_loss(calibration)) write_line(fmt::format("  {:>9.4f}% alone  {}", 100 * loss, name));
}

}  // namespace

bool is_calibration_file(const std::string& path) {
  constexpr std::string_view kBegin = R"({"format":"bertie calibration")";
  std::string begin(kBegin.size(), '\0');
  std::ifstream(path, std::ios::binary).read(begin.data(), static_cast<std::streamsize>(begin.size()));
  return begin == kBegin;
}

void inspect_calibration(const std::string& path, bool as_json) {
  const Calibration calibration = Calibration::load(path);
  if (as_json)
    write_line(to_line(to_json(calibration, path)));
  else
    print(calibration, path);
}

}  // namespace bertie::cli
