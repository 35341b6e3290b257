// `bertie inspect`: a model's network, steps, kernels, weights and memory; what a calibration cache holds.
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bertie/plugin.h"
#include "inspect_calibration.h"
#include "inspect_engine_file.h"
#include "inspect_graph.h"
#include "json.h"
#include "options.h"
#include "output.h"

namespace bertie::cli {
namespace {

struct InspectOptions {
  CommonOptions common;
  bool network = false;
  std::string graph;  // a file
};

std::string megabytes(size_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

Json value_json(const Network& network, ValueId id, const std::string& name) {
  const Value& value = network.value(id);
  return {{"name", name}, {"dtype", std::string(dtype_name(value.dtype))}, {"shape", to_string(value.shape)}};
}

Json model_json(const Model& model) {
  const ModelInfo& info = model.info();
  Json inputs = Json::array(), outputs = Json::array();
  for (ValueId input : model.network().inputs()) {
    inputs.push_back(value_json(model.network(), input, model.network().value(input).name));
  }
  for (const auto& output : model.network().outputs()) outputs.push_back(value_json(model.network(), output.value, output.name));
  return {{"model", info.source},
          {"family", info.family},
          {"architecture", info.architecture},
          {"layers", info.layers},
          {"hidden_size", info.hidden_size},
          {"heads", info.heads},
          {"head_dim", info.head_dim},
          {"ffn", info.ffn},
          {"vocabulary", info.vocabulary},
          {"max_positions", info.max_positions},
          {"parameters", info.parameters},
          {"tasks", info.tasks},
          {"labels", info.labels},
          {"inputs", std::move(inputs)},
          {"outputs", std::move(outputs)},
          {"surplus_tensors", info.surplus_tensors}};
}

// What a session of the usual limits needs; nullopt where only a run tells.
std::optional<size_t> session_bytes(const std::shared_ptr<const Engine>& engine) {
  if (!engine->execution().planned) return std::nullopt;
  try {
    return Session(engine).workspace_bytes();
  } catch (const Error&) {  // its inputs are not what a batch holds
    return std::nullopt;
  }
}

Json to_json(const Model& model, const std::shared_ptr<const Engine>& built) {
  const Engine& engine = *built;
  const SessionLimits limits;
  Json json = model_json(model);
  json["device"] = engine.options().device;
  json["precision"] = engine.options().precision;
  json["layer_precision"] = engine.options().layer_precision;
  json["threads"] = engine.threads();
  json["weight_bytes"] = engine.weight_bytes();
  if (const auto bytes = session_bytes(built)) {
    json["session"] = {
        {"tokens", limits.tokens}, {"sequences", limits.sequences}, {"longest", limits.longest}, {"workspace_bytes", *bytes}};
  }
  Json passes = Json::array(), steps = Json::array();
  for (const PassReport& pass : engine.passes()) {
    passes.push_back({{"number", pass.number},
                      {"name", pass.name},
                      {"matches", pass.matches},
                      {"ms", static_cast<float>(pass.milliseconds)},
                      {"lines", pass.lines}});
  }
  for (const StepInfo& step : engine.steps()) {
    steps.push_back({{"name", step.name},
                     {"op", step.op},
                     {"kernel", step.kernel},
                     {"device", step.device},
                     {"precision", step.precision},
                     {"reason", step.reason},
                     {"output_shape", step.output_shape},
                     {"rows", step.rows},
                     {"weight_bytes", step.weight_bytes}});
  }
  Json plugins = Json::array();
  for (const PluginInfo& plugin : loaded_plugins())
    plugins.push_back({{"name", plugin.name},
                       {"version", plugin.version},
                       {"path", plugin.path},
                       {"ops", plugin.ops},
                       {"calibrators", plugin.calibrators}});
  json["plugins"] = std::move(plugins);
  json["execution"] = {{"planned", engine.execution().planned}, {"reason", engine.execution().reason}};
  if (is_from_engine_file(model)) json["engine_file"] = engine_file_json(model);
  json["passes"] = std::move(passes);
  json["steps"] = std::move(steps);
  return json;
}

void print(const Model& model, const std::shared_ptr<const Engine>& built, bool network) {
  const ModelInfo& info = model.info();
  const Engine& engine = *built;
  const SessionLimits limits;
  write_line(fmt::format("{}: {}{}", info.source, info.family,
                         info.architecture.empty() ? "" : fmt::format(" ({})", info.architecture)));
  std::vector<std::string> sizes;  // an ONNX file does not state them all
  const auto add_size = [&](int64_t size, const char* format) {
    if (size > 0) sizes.push_back(fmt::format(fmt::runtime(format), size));
  };
  add_size(info.layers, "{} layers");
  add_size(info.hidden_size, "hidden {}");
  if (info.heads > 0) sizes.push_back(fmt::format("{} heads of {}", info.heads, info.head_dim));
  add_size(info.ffn, "feed-forward {}");
  add_size(info.vocabulary, "vocabulary {}");
  add_size(info.max_positions, "{} positions");
  if (!sizes.empty()) write_line(fmt::format("  {}", fmt::join(sizes, ", ")));
  write_line(fmt::format("  {} parameters; tasks: {}", info.parameters, fmt::join(info.tasks, ", ")));
  const auto bytes = session_bytes(built);
  write_line(fmt::format(
      "  weights as they run {}; {}", megabytes(engine.weight_bytes()),
      bytes ? fmt::format("a session of {} tokens in {} sequences needs {}", limits.tokens, limits.sequences, megabytes(*bytes))
            : "what a session needs depends on the run"));
  for (ValueId input : model.network().inputs()) {
    const Value& value = model.network().value(input);
    write_line(fmt::format("  input   {:<20} {} {}", value.name, dtype_name(value.dtype), to_string(value.shape)));
  }
  for (const auto& output : model.network().outputs()) {
    const Value& value = model.network().value(output.value);
    write_line(fmt::format("  output  {:<20} {} {}", output.name, dtype_name(value.dtype), to_string(value.shape)));
  }
  for (const PluginInfo& plugin : loaded_plugins()) {
    std::vector<std::string> what = plugin.ops;
    for (const std::string& calibrator : plugin.calibrators) what.push_back("calibrator " + calibrator);
    write_line(fmt::format("  plugin  {} v{} ({}): {}", plugin.name, plugin.version, plugin.path, fmt::join(what, ", ")));
  }
  if (is_from_engine_file(model)) print_engine_file(model);
  write_line("\npasses");
  for (const PassReport& pass : engine.passes()) {
    write_line(fmt::format("  {:>2} {:<24} {:>4} matches  {:6.1f} ms", pass.number, pass.name, pass.matches, pass.milliseconds));
  }
  const auto& layers = engine.options().layer_precision;
  write_line(fmt::format("\nsteps on {} in {}{}{}, {} threads", engine.options().device, engine.options().precision,
                         layers.empty() ? "" : " but ", fmt::join(layers, " "), engine.threads()));
  write_line(fmt::format("  {}: {}", engine.execution().planned ? "planned" : "step by step", engine.execution().reason));
  for (const StepInfo& step : engine.steps()) {
    write_line(fmt::format("  {:<40} {:<22} {:<28} {:<5} {:<7} {:>10}  {}", step.name, step.op, step.kernel, step.precision,
                           step.rows, megabytes(step.weight_bytes), step.reason));
  }
  if (!info.surplus_tensors.empty()) {
    write_line("\ntensors that are no part of the network");
    for (const std::string& tensor : info.surplus_tensors) write_line("  " + tensor);
  }
  if (network) {
    write_line("\nnetwork");
    write_line(model.network().to_string());
    write_line("\nnetwork after the passes");
    write_line(engine.network().to_string());
  }
}

int inspect(const InspectOptions& options) {
  options.common.start_log();
  if (is_calibration_file(options.common.model)) {
    inspect_calibration(options.common.model, options.common.json);
    return 0;
  }
  const Model model = options.common.load_model();
  const auto engine = Engine::build(model.network(), options.common.engine_options(model));
  if (!options.graph.empty()) write_graph(options.graph, model, *engine);
  if (options.common.json)
    write_line(to_line(to_json(model, engine)));
  else
    print(model, engine, options.network);
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App& command = *app.add_subcommand(
      "inspect", "Network, steps, kernels with reasons, weights and memory of a model; or a calibration cache");
  options->common.add_model(command);
  command.add_flag("--network", options->network, "Print the network too, before and after the passes");
  command.add_option("--graph", options->graph, "Draw the network before and after the passes: a .svg, .dot or .html file")
      ->check(graph_path_error);
  options->common.add_device(command);
  options->common.add_output(command);
  command.callback([options, &action] { action = [options] { return inspect(*options); }; });
}

}  // namespace bertie::cli
