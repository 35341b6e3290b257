#include "options.h"

#include <algorithm>
#include <filesystem>
#include <regex>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "bertie/plugin.h"
#include "formats/engine_file.h"
#include "output.h"
#include "passes/pass.h"

namespace bertie::cli {

void CommonOptions::add_model(CLI::App& command, bool required) {
  auto* option = command.add_option("MODEL", model, "A Hugging Face folder, an ONNX file or an engine file");
  if (required) option->required();
  add_plugins(command);
}

void CommonOptions::add_plugins(CLI::App& command) {
  command.add_option("--plugin", plugins, "A shared library of custom ops and calibrators; may be given several times")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void CommonOptions::add_tokenizer(CLI::App& command) {
  command.add_option("--tokenizer", tokenizer, "Folder or tokenizer.json to use instead of the model's own");
}

void CommonOptions::add_device(CLI::App& command) {
  command
      .add_option("--device", device, "cpu (default), reference, cuda or cuda:N; several GPUs: cuda:0,cuda:1, a replica on each")
      ->check([](const std::string& value) {
        static const std::regex known("cpu|reference|cuda(:[0-9]+)?(,cuda(:[0-9]+)?)*");
        return std::regex_match(value, known) ? "" : "unknown device " + value;
      });
  command
      .add_option(
          "--precision", precision,
          "fp32 (default, but of a quantised file or beside a calibration int8, of an engine file what its layers are held in), "
          "tf32, fp16, bf16, int8, fp8 or auto")
      ->check(CLI::IsMember({"fp32", "tf32", "fp16", "bf16", "int8", "fp8", "auto"}));
  command.add_option("--calibration", calibration,
                     "What activations are, from `bertie calibrate`: scales of int8, which finds them at run time without it, "
                     "and means for fp8");
  add_texts(
      command, "--layer-precision", layer_precision,
      "PATTERN=P: the precision of steps by name (`bertie inspect`), with * and ?; may be given several times, the last counts");
  add_threads(command);
  command.add_flag("--tune", tune,
                   "Time the kernels where several take a step, and use the fastest: on a CPU the results are the same, on a GPU "
                   "the last bits may change");
  command.add_option("--tuning-cache", tuning_cache, "Keep the kernels' times in this file, and use those it holds");
  command.add_option("--disable-pass", disabled_passes, "Switch a pass off by its name")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void CommonOptions::add_mode(CLI::App& command) {
  command
      .add_option("--mode", mode, "latency (default): all threads on each batch; throughput: as many batches at once as threads")
      ->check(CLI::IsMember({"latency", "throughput"}));
  command.add_flag("--pin", pin, "Keep each thread on a CPU of its own, distinct cores first");
}

void CommonOptions::add_threads(CLI::App& command) {
  command.add_option("--threads", threads, "CPU threads (default: all usable CPUs)")->check(CLI::Range(1, 4096));
}

void CommonOptions::add_output(CLI::App& command) {
  command.add_flag("--json", json, "One JSON object a line on standard output");
  command.add_flag("--verbose", verbose, "Log lines, passes and unused tensors on standard error");
}

void CommonOptions::start_log() const {
  if (!verbose) return;
  set_log_callback([](LogLevel level, std::string_view message) {
    const char* name = level == LogLevel::warning ? "warning: " : level == LogLevel::debug ? "debug: " : "";
    note(fmt::format("bertie: {}{}", name, message));
  });
}

void CommonOptions::load_plugins() const {
  for (const std::string& plugin : plugins) load_plugin(plugin);
}

Model CommonOptions::load_model() const {
  load_plugins();
  ModelOptions options;
  options.tokenizer = tokenizer;
  return Model::load(model, options);
}

std::shared_ptr<const Tokenizer> CommonOptions::load_tokenizer() const {
  if (!tokenizer.empty()) return Tokenizer::load(tokenizer);
  std::error_code ignored;
  const bool file = std::filesystem::is_regular_file(model, ignored);
  return file && is_engine_file(MappedFile::open(model)->bytes()) ? load_model().tokenizer() : Tokenizer::load(model);
}

std::shared_ptr<KernelTimings> CommonOptions::timings() const {
  if (tuning_cache.empty()) return tune ? std::make_shared<KernelTimings>() : nullptr;
  auto timings = std::make_shared<KernelTimings>(tuning_cache);
  if (!timings->problem().empty()) note(fmt::format("bertie: {}; it is written anew", timings->problem()));
  return timings;
}

std::string used_precision(const std::string& given, const std::string& calibration, const Model& model) {
  std::vector<std::string> held;  // the precisions in eight bits, or else bf16
  const auto note = [&](const char* precision) {
    if (std::find(held.begin(), held.end(), precision) == held.end()) held.emplace_back(precision);
  };
  bool bf16 = false;
  for (const NodeId id : model.network().order()) {
    const Node& node = model.network().node(id);
    if (node.op == "int8_linear") note("int8");
    if (node.op == "fp8_linear") note("fp8");
    bf16 = bf16 || (node.op == "linear" && node.text("precision") == "bf16");
  }
  bf16 = bf16 && held.empty();
  if (bf16) note("bf16");
  const bool other = !held.empty() && !given.empty() && std::find(held.begin(), held.end(), given) == held.end();
  if (other || (bf16 && !calibration.empty())) {
    fail(ErrorCode::invalid_argument, "{}: its linear layers are held in {}, and run in {} alone", model.info().source,
         bf16 ? "bfloat16" : "eight bits", fmt::join(held, " and "));
  }
  if (!given.empty()) return given;
  if (!held.empty()) return held.front();
  return says_eight_bits(model.network()) || !calibration.empty() ? "int8" : "fp32";
}

std::shared_ptr<const Calibration> load_calibration(const std::string& path, const Model& model) {
  if (path.empty()) return nullptr;
  auto loaded = std::make_shared<Calibration>(Calibration::load(path));
  loaded->require_made_for(model.weights_hash(), path);
  return loaded;
}

template <typename Options>
void CommonOptions::set(Options& options, const Model& model) const {
  options.device = device;
  options.precision = used_precision(precision, calibration, model);
  options.calibration = load_calibration(calibration, model);
  options.layer_precision = layer_precision;
  options.threads = threads;
  options.mode = mode == "throughput" ? Mode::throughput : Mode::latency;
  options.pin = pin;
  options.disabled_passes = disabled_passes;
  options.tune = tune;
  options.timings = timings();
}

EngineOptions CommonOptions::engine_options(const Model& model) const {
  EngineOptions options;
  set(options, model);
  if (!options.timings) options.timings = model.timings();
  return options;
}

void CommonOptions::copy_to(TaskOptions& options, const Model& model) const { set(options, model); }

CLI::Option* add_texts(CLI::App& command, const std::string& flag, std::vector<std::string>& values,
                       const std::string& description) {
  // With extra arguments allowed, CLI11 would read "[MASK] ... [MASK]" as a list.
  return command.add_option(flag, values, description)
      ->type_size(1)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void note_surplus(const ModelInfo& info) {
  for (const std::string& tensor : info.surplus_tensors) note("unused tensor " + tensor);
}

}  // namespace bertie::cli
