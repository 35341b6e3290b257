// `bertie calibrate`: texts to a calibration cache, the scales of eight-bit activations.
#include "calibration/calibrate.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <memory>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "calibration/sensitivity.h"
#include "interrupt.h"
#include "json.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "text_data.h"

namespace bertie::cli {
namespace {

using calibration::ObservedTensor;
using calibration::Shift;

struct CalibrateCommand {
  CommonOptions common;
  TextData data{.max_texts = 1000};
  std::string output;
  std::string method = "minmax";
  std::optional<double> percentile;
  std::string migration = "on";
  std::string shift = "auto";
  std::string rounding = "texts";
  uint64_t mask_every = 8;
  bool truncate = false;
  bool sensitivity = false;
  std::string max_loss;
};

// "0.5%" or "0.005".
double parse_share(const std::string& text) {
  const bool percent = text.ends_with('%');
  const char* const last = text.data() + text.size() - (percent ? 1 : 0);
  double share = 0;
  const auto [stop, error] = std::from_chars(text.data(), last, share);
  if (percent) share /= 100;
  if (error != std::errc() || stop != last || !(share > 0 && share <= 1))
    throw UsageError(fmt::format("--max-loss: '{}' is no share such as 0.5%", text));
  return share;
}

CalibrateOptions options_of(const CalibrateCommand& command) {
  const std::vector<std::string> known = calibrator_names();
  if (std::find(known.begin(), known.end(), command.method) == known.end())
    throw UsageError(fmt::format("--method: no calibrator '{}'; there are {}", command.method, fmt::join(known, ", ")));
  CalibrateOptions options;
  options.calibrator = command.percentile ? percentile_calibrator(*command.percentile) : find_calibrator(command.method);
  options.mask_every = command.mask_every;
  options.seed = command.data.seed;
  options.device = command.common.device;
  options.threads = command.common.threads;
  options.truncate = command.truncate;
  if (!command.max_loss.empty()) options.max_loss = parse_share(command.max_loss);
  options.cancelled = interrupted;
  return options;
}

calibration::SchemeOptions schemes_of(const CalibrateCommand& command) {
  calibration::SchemeOptions schemes;
  if (command.migration == "off") schemes.migration.alphas.clear();
  for (const Shift shift : {Shift::none, Shift::tensor, Shift::channel}) {
    if (shift_name(shift) == command.shift) schemes.migration.shifts = {shift};
  }
  schemes.other_neighbours = command.rounding == "texts";
  return schemes;
}

// The share of the values that are clipped.
double clipped(const ObservedTensor& tensor) {
  const auto counts = tensor.histogram.counts();
  uint64_t above = 0;
  for (size_t bin = 0; bin < counts.size(); ++bin)
    above += static_cast<double>(bin) * tensor.histogram.width() >= tensor.threshold ? counts[bin] : 0;
  return tensor.threshold > 0 ? static_cast<double>(above) / static_cast<double>(tensor.histogram.total()) : 0;
}

using MaybeSensitivity = std::optional<calibration::Sensitivity>;

Json to_json(const calibration::CalibrationRun& run, const MaybeSensitivity& sensitivity, const CalibrateCommand& command) {
  Json tensors = Json::array();
  for (const ObservedTensor& tensor : run.tensors) {
    const auto& scheme = tensor.scheme;
    tensors.push_back({{"layers", tensor.layers},
                       {"lowest", tensor.lowest},
                       {"highest", tensor.highest},
                       {"channels", scheme.shift.size()},
                       {"dead", tensor.dead},
                       {"shift", std::string(shift_name(scheme.kind))},
                       {"alpha", scheme.alpha ? Json(rounded(*scheme.alpha)) : Json()},
                       {"error", rounded(scheme.error)},
                       {"range", scheme.range},
                       {"threshold", rounded(tensor.threshold)},
                       {"clipped", rounded(clipped(tensor))},
                       {"counts", std::vector<uint64_t>(tensor.histogram.counts().begin(), tensor.histogram.counts().end())}});
  }
  Json row{{"model", command.common.model},          {"cache", command.output},
           {"method", run.calibration.method},       {"model_hash", run.calibration.model_hash},
           {"data_hash", run.calibration.data_hash}, {"texts", run.calibration.texts},
           {"tokens", run.calibration.tokens},       {"masked", run.masked},
           {"unknown", rounded(run.unknown)},        {"tensors", std::move(tensors)}};
  if (sensitivity) {
    Json layers = Json::array();
    for (const auto& [layer, loss] : sensitivity->layers) layers.push_back({{"layer", layer}, {"loss", rounded(loss)}});
    row["sensitivity"] = {{"layers", std::move(layers)},
                          {"all", rounded(sensitivity->all)},
                          {"kept", sensitivity->kept},
                          {"loss", rounded(sensitivity->loss)}};
  }
  return row;
}

void print(const calibration::Sensitivity& sensitivity, const CalibrateCommand& command) {
  write_line(fmt::format("loss of the task with one layer in eight bits (all of them: {:.3f}%)", 100 * sensitivity.all));
  for (size_t i = 0; i < sensitivity.layers.size(); ++i) {
    const auto& [layer, loss] = sensitivity.layers[i];
    write_line(fmt::format("  {:>8.4f}%  {}{}", 100 * loss, layer, i < sensitivity.kept.size() ? ", stays in float32" : ""));
  }
  if (!command.max_loss.empty()) {
    write_line(fmt::format("precision auto: {} of {} layers stay in float32, loss {:.3f}%", sensitivity.kept.size(),
                           sensitivity.layers.size(), 100 * sensitivity.loss));
  }
}

void print(const calibration::CalibrationRun& run, const CalibrateCommand& command) {
  write_line(fmt::format("{}: {} layers read {} tensors, by {} over {} texts ({} tokens, {} masked)", command.output,
                         run.calibration.layers.size(), run.tensors.size(), run.calibration.method, run.calibration.texts,
                         run.calibration.tokens, run.masked));
  write_line(fmt::format("  {:>9} {:>9} {:>8} {:>5} {:>9} {:>9} {:>8} {:>6}  {}", "lowest", "highest", "shift", "alpha", "error",
                         "clipped", "channels", "dead", "layers"));
  for (const ObservedTensor& tensor : run.tensors) {
    const auto& scheme = tensor.scheme;
    write_line(fmt::format("  {:>9.3g} {:>9.3g} {:>8} {:>5} {:>9.3g} {:>9.2g} {:>8} {:>6}  {}", tensor.lowest, tensor.highest,
                           shift_name(scheme.kind), scheme.alpha ? fmt::format("{:.2g}", *scheme.alpha) : "-", scheme.error,
                           clipped(tensor), scheme.shift.size(), tensor.dead, fmt::join(tensor.layers, ", ")));
  }
}

int run_calibrate(const CalibrateCommand& command) {
  command.common.start_log();
  command.common.load_plugins();  // a calibrator may be theirs
  CalibrateOptions options = options_of(command);
  const std::vector<calibration::SampledText> texts = command.data.read();
  const Model model = command.common.load_model();
  calibration::CalibrationRun run;
  MaybeSensitivity sensitivity;
  {
    Progress progress(0, false);
    options.progress = [&](std::string_view stage, size_t done, size_t total) { progress.update_share(stage, done, total); };
    run = calibration::calibrate(model, texts, options, schemes_of(command));
    if (command.sensitivity || options.max_loss > 0)
      sensitivity = calibration::choose_precision(model, texts, options, run.calibration);
  }
  run.calibration.save(command.output);
  constexpr double kManyUnknown = 0.1;
  if (run.unknown > kManyUnknown) {
    complain(fmt::format("{}: {:.0f}% of the words are unknown to the model: are the texts in its language?", command.data.path,
                         100 * run.unknown));
  }
  if (command.common.json)
    write_line(to_line(to_json(run, sensitivity, command)));
  else
    print(run, command);
  if (sensitivity && !command.common.json) print(*sensitivity, command);
  return 0;
}

constexpr const char* kCalibrateFooter =
    R"(Runs MODEL in fp32 over the texts, observes what each linear layer reads, and writes the cache that --calibration CACHE takes: for
each such tensor one scale, and for each of its channels a centre (its middle goes into the bias) and a migration (SmoothQuant: a part of its magnitude goes
into the weights), chosen by the error of the layers' outputs on rows that are kept. --method says what the scale is made from: minmax
(the whole range), percentile, mse (least squared error) or entropy (least relative entropy, as TensorRT's). The texts should be like those
that the model will meet. The same texts give the same cache, whatever the number of threads.
--sensitivity and --max-loss measure on at most 64 of the texts. The loss of a fill-mask model: how much the mean cross entropy of masked
words is expected to grow (the mean relative entropy of the two answers), by what it is in float32. Of others: the squared difference of their
outputs by the outputs' squares.)";

}  // namespace

void add_calibrate(CLI::App& app, Action& action) {
  auto options = std::make_shared<CalibrateCommand>();
  CLI::App& command = *app.add_subcommand("calibrate", "Find the scales of eight-bit activations by running texts");
  command.footer(kCalibrateFooter);
  CalibrateCommand& o = *options;
  o.common.add_model(command);
  o.data.add(command);
  command.add_option("-o,--output", o.output, "The cache, a JSON file")->required();
  command.add_option("--method", o.method, "minmax (default), percentile, mse, entropy, or a plugin's calibrator by its name");
  command.add_option("--percentile", o.percentile, "The share of values, in percent, that is not clipped (default 99.99)")
      ->check(CLI::Range(1.0, 100.0));
  command.add_option("--migration", o.migration, "on (default) or off: magnitudes of channels move into the weights")
      ->check(CLI::IsMember({"on", "off"}));
  command.add_option("--shift", o.shift, "auto (default), none, tensor or channel: what is counted from its middle")
      ->check(CLI::IsMember({"auto", "none", "tensor", "channel"}));
  command
      .add_option(
          "--rounding", o.rounding,
          "Of weights: texts (default), each to the neighbour with which a row's errors cancel best over them; or nearest")
      ->check(CLI::IsMember({"texts", "nearest"}));
  command.add_option("--mask-every", o.mask_every, "Of a fill-mask model's words one in so many is masked (default 8; 0: none)");
  command.add_flag("--truncate", o.truncate, "Cut texts that are longer than the model takes");
  command.add_flag("--sensitivity", o.sensitivity, "Also say what each layer in eight bits costs the task, alone");
  command.add_option("--max-loss", o.max_loss,
                     "A share such as 0.5%: also choose the fewest layers that must stay in float32, for --precision auto");
  o.common.add_tokenizer(command);
  command.add_option("--device", o.common.device, "cpu (default), reference or cuda")
      ->check(CLI::IsMember({"cpu", "reference", "cuda"}));
  o.common.add_threads(command);
  o.common.add_output(command);
  command.callback([options, &action] {
    if (options->percentile && options->method != "percentile") throw UsageError("--percentile is of --method percentile");
    if (!options->max_loss.empty()) parse_share(options->max_loss);
    action = [options] { return run_calibrate(*options); };
  });
}

}  // namespace bertie::cli
