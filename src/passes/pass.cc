#include "passes/pass.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/log.h"

namespace bertie {

PassOptions pass_options(const EngineOptions& options) {
  PassOptions passes;
  passes.select_rows = options.select_rows;
  passes.disabled = options.disabled_passes;
  passes.precision = options.precision;
  for (const std::string& text : options.layer_precision) passes.layer_precision.push_back(parse_layer_precision(text));
  passes.calibration = options.calibration.get();
  return passes;
}

const std::vector<Pass>& all_passes() {
  static const std::vector<Pass> passes = {
      {"remove_dead_nodes", remove_dead_nodes},
      {"fold_constants", fold_constants},
      {"recognize_quantization", recognize_quantization},
      {"canonicalize", canonicalize},
      {"merge_duplicates", merge_duplicates},
      {"fuse_gelu", fuse_gelu},
      {"fuse_layer_norm", fuse_layer_norm},
      {"fuse_linear", fuse_linear},
      {"recognize_positions", recognize_positions},
      {"fuse_attention", fuse_attention},
      {"fuse_pool", fuse_pool},
      {"fuse_normalize", fuse_normalize},
      {"fuse_embedding_layer_norm", fuse_embedding_layer_norm},
      {"fuse_skip_layer_norm", fuse_skip_layer_norm},
      {"fuse_linear_activation", fuse_linear_activation},
      {"merge_qkv", merge_qkv},
      {"narrow_weights", narrow_weights},
      {"remove_padding", remove_padding},
      {"select_rows", select_rows},
      {"assign_precision", assign_precision},
      {"quantize_linear_layers", quantize_linear_layers},
      {"fuse_quantize_rows", fuse_quantize_rows},
      {"keep_bf16_rows", keep_bf16_rows},
      {"fuse_linear_layer_norm", fuse_linear_layer_norm},
  };
  return passes;
}

namespace {

std::vector<PassReport> run(Network& network, const PassOptions& options, size_t count) {
  const auto& passes = all_passes();
  for (const std::string& name : options.disabled) {
    if (std::none_of(passes.begin(), passes.end(), [&](const Pass& pass) { return pass.name == name; })) {
      std::vector<std::string_view> names;
      for (const Pass& pass : passes) names.push_back(pass.name);
      fail(ErrorCode::invalid_argument, "no pass '{}': there are {}", name, fmt::join(names, ", "));
    }
  }
  network.verify();
  std::vector<PassReport> reports;
  for (size_t i = 0; i < count; ++i) {
    const Pass& pass = passes[i];
    if (options.is_disabled(pass.name)) continue;
    PassReport& report = reports.emplace_back();
    report.number = static_cast<int>(i + 1);
    report.name = pass.name;
    PassLog log_lines(report);
    const auto start = std::chrono::steady_clock::now();
    pass.run(network, options, log_lines);
    network.verify();
    report.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    log(LogLevel::info, "pass {} {}: {} matches, {:.2f} ms", report.number, report.name, report.matches, report.milliseconds);
    for (const std::string& line : report.lines) log(LogLevel::debug, "  {}", line);
  }
  return reports;
}

}  // namespace

std::vector<PassReport> run_passes(Network& network, const PassOptions& options) {
  return run(network, options, all_passes().size());
}

std::vector<PassReport> run_logical_passes(Network& network, const PassOptions& options) {
  const auto& passes = all_passes();
  const auto last = std::find_if(passes.begin(), passes.end(), [](const Pass& pass) { return pass.name == "remove_padding"; });
  return run(network, options, static_cast<size_t>(last - passes.begin()));
}

void PassLog::matched_each(std::string_view what, const std::vector<std::string>& names) {
  constexpr size_t kShown = 6;
  if (names.empty()) return;
  report_.matches += static_cast<int>(names.size());
  const auto shown = std::span(names).first(std::min(names.size(), kShown));
  report_.lines.push_back(fmt::format("{}: {}{}", what, fmt::join(shown, ", "),
                                      names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : ""));
}

const Node* producer(const Network& network, ValueId value) {
  const NodeId id = value == kNone ? kNone : network.value(value).producer;
  return id == kNone ? nullptr : &network.node(id);
}

bool is_output(const Network& network, ValueId value) {
  const auto outputs = network.outputs();
  return std::any_of(outputs.begin(), outputs.end(), [&](const Network::Output& output) { return output.value == value; });
}

bool has_one_reader(const Network& network, ValueId value) {
  return !is_output(network, value) && network.consumers(value).size() == 1;
}

}  // namespace bertie
