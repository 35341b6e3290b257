// `bertie compare`: how far one model, device or precision is from another over real texts, as figures or as a gate.
#include "calibration/compare.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "interrupt.h"
#include "json.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "text_data.h"

namespace bertie::cli {
namespace {

struct Requirement {
  std::string figure;
  double bound = 0;
  bool at_most = false;
};

struct CompareCommand {
  CommonOptions common;  // plugins, threads and output; the rest is of each side
  std::string a, b;
  TextData data;
  std::string require;
  bool truncate = false;
  double fallen = 20;
};

// "MODEL,device=D,precision=P,calibration=F": what belongs to a side alone. A comma that no key follows is part of the path, or of the value.
struct SideSpec {
  std::string model, tokenizer, device = "cpu", precision, calibration;
  std::vector<std::string> layer_precision;
};

SideSpec parse_side(const std::string& text) {
  static constexpr std::string_view kKeys = "device, precision, calibration, layer-precision, tokenizer";
  SideSpec spec;
  std::string* value = &spec.model;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    begin = end + 1;
    const size_t equals = part.find('=');
    const std::string key = equals == std::string::npos ? "" : part.substr(0, equals);
    if (key == "device") {
      value = &spec.device;
    } else if (key == "precision") {
      value = &spec.precision;
    } else if (key == "calibration") {
      value = &spec.calibration;
    } else if (key == "layer-precision") {
      value = &spec.layer_precision.emplace_back();
    } else if (key == "tokenizer") {
      value = &spec.tokenizer;
    } else if (value == &spec.model && equals == std::string::npos) {
      spec.model += (spec.model.empty() ? "" : ",") + part;
      continue;
    } else {
      throw UsageError(fmt::format("{}: '{}' is none of {}", text, part, kKeys));
    }
    *value = part.substr(equals + 1);
  }
  if (spec.model.empty()) throw UsageError(fmt::format("'{}' names no model", text));
  return spec;
}

std::vector<Requirement> parse_requirements(const std::string& text) {
  const auto kinds = calibration::figure_kinds();
  std::vector<std::string_view> names;
  for (const auto& kind : kinds) names.push_back(kind.name);
  std::vector<Requirement> requirements;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    begin = end + 1;
    const size_t equals = std::min(part.find('='), part.size());
    const std::string name = part.substr(0, equals);
    const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const auto& known) { return known.name == name; });
    if (kind == kinds.end())
      throw UsageError(fmt::format("--require: no figure '{}'; there are {}", name, fmt::join(names, ", ")));
    Requirement& requirement = requirements.emplace_back(Requirement{name, 0, kind->less_is_better});
    const char* const last = part.data() + part.size();
    const auto [stop, error] = std::from_chars(part.data() + std::min(equals + 1, part.size()), last, requirement.bound);
    if (error != std::errc() || stop != last || !std::isfinite(requirement.bound))
      throw UsageError(fmt::format("--require: '{}' is not FIGURE=NUMBER", part));
  }
  return requirements;
}

calibration::Side load_side(const CompareCommand& command, const std::string& text) {
  const SideSpec spec = parse_side(text);
  TaskOptions options;
  options.device = spec.device;
  options.layer_precision = spec.layer_precision;
  options.threads = command.common.threads;
  options.truncate = command.truncate;
  Model model = Model::load(spec.model, {.tokenizer = spec.tokenizer});
  options.precision = used_precision(spec.precision, spec.calibration, model);
  options.calibration = load_calibration(spec.calibration, model);
  return {text, std::move(model), std::move(options)};
}

Json to_json(const calibration::Comparison& comparison, const CompareCommand& command, std::span<const std::string> missed) {
  Json row{{"a", command.a},
           {"b", command.b},
           {"task", comparison.task},
           {"texts", comparison.texts},
           {"counted", comparison.counted}};
  for (const auto& [name, value] : comparison.figures) {
    if (name == "led")
      row[name] = static_cast<uint64_t>(value);
    else
      row[name] = rounded(value);
  }
  Json layers = Json::array();
  for (const auto& [node, decibels] : comparison.layers)
    layers.push_back({{"node", node}, {"snr", rounded(decibels)}, {"equal", std::isinf(decibels) && decibels > 0}});
  row["layers"] = std::move(layers);
  if (!comparison.no_layers.empty()) row["no_layers"] = comparison.no_layers;
  row["first_fallen"] = comparison.first_fallen ? Json(*comparison.first_fallen) : Json();
  row["missed"] = std::vector<std::string>(missed.begin(), missed.end());
  return row;
}

std::string decibels_text(double decibels) {
  return std::isinf(decibels) && decibels > 0 ? "equal" : fmt::format("{:.1f} dB", decibels);
}

void print(const calibration::Comparison& comparison, const CompareCommand& command) {
  write_line(fmt::format("A {}\nB {}\n{}: {} texts, {} compared", command.a, command.b, comparison.task, comparison.texts,
                         comparison.counted));
  for (const auto& [name, value] : comparison.figures) {
    if (name == "snr")
      write_line(fmt::format("  {:<14} {}", name, decibels_text(value)));
    else if (name == "led")
      write_line(fmt::format("  {:<14} {:.0f}", name, value));
    else
      write_line(fmt::format("  {:<14} {:.6f}", name, value));
  }
  if (!comparison.no_layers.empty()) write_line("layers are not compared: " + comparison.no_layers);
  for (size_t i = 0; i < comparison.layers.size(); ++i) {
    const auto& [node, decibels] = comparison.layers[i];
    write_line(fmt::format("  layer {:<8} {:>9}{}  {}", i, decibels_text(decibels),
                           comparison.first_fallen == i ? ", the first below" : "", node));
  }
}

// What each unmet requirement says: "agreement 0.91 is below 0.97".
std::vector<std::string> missed_requirements(const calibration::Comparison& comparison,
                                             const std::vector<Requirement>& requirements) {
  std::vector<std::string> missed;
  for (const auto& [name, bound, at_most] : requirements) {
    const std::optional<double> value = comparison.figure(name);
    if (!value)
      missed.push_back(fmt::format("{} is not measured here ({})", name, comparison.task));
    else if (at_most ? !(*value <= bound) : !(*value >= bound))
      missed.push_back(fmt::format("{} {:.6g} is {} {:.6g}", name, *value, at_most ? "above" : "below", bound));
  }
  return missed;
}

int compare_models(const CompareCommand& command) {
  command.common.start_log();
  command.common.load_plugins();
  const std::vector<Requirement> requirements = parse_requirements(command.require);
  const std::vector<calibration::SampledText> texts = command.data.read();
  const calibration::Side a = load_side(command, command.a), b = load_side(command, command.b);
  calibration::CompareOptions options;
  options.fallen = command.fallen;
  options.cancelled = interrupted;
  calibration::Comparison comparison;
  {
    Progress progress(0, false);
    options.progress = [&](std::string_view stage, size_t done, size_t total) { progress.update_share(stage, done, total); };
    comparison = calibration::compare(a, b, texts, options);
  }
  const std::vector<std::string> missed = missed_requirements(comparison, requirements);
  if (command.common.json)
    write_line(to_line(to_json(comparison, command, missed)));
  else
    print(comparison, command);
  flush_output();
  if (!missed.empty()) complain(fmt::format("missed: {}", fmt::join(missed, "; ")));
  return missed.empty() ? 0 : 1;
}

constexpr const char* kCompareFooter =
    R"(A and B: MODEL[,device=D][,precision=P][,calibration=FILE][,layer-precision=PATTERN=P ...][,tokenizer=PATH], on cpu in fp32 (in
int8 with a calibration) unless they say otherwise.
What is compared is what the models are for. Masked words: each word piece of each text is masked in turn; agreement is how often B's
best token is A's, agreement_led the same where A's best leads its second by more than 0.05 in probability, loss is B's mean cross
entropy of the token that stood there less A's. Embeddings: cosine (mean) and cosine_min. Other heads: agreement of labels and the
largest difference of a logit. Then the signal-to-noise ratio of each encoder layer's output, A's taken for the signal; snr is the
least. --require takes these names: loss and difference at most, the others at least. Exit status 1: one of them is missed.)";

}  // namespace

void add_compare(CLI::App& app, Action& action) {
  auto options = std::make_shared<CompareCommand>();
  CLI::App& command = *app.add_subcommand("compare", "How far B's answers are from A's, over texts");
  command.footer(kCompareFooter);
  CompareCommand& o = *options;
  command.add_option("A", o.a, "What B is measured against: MODEL[,device=D][,precision=P][,calibration=F]")->required();
  command.add_option("B", o.b, "MODEL[,device=D][,precision=P][,calibration=F]")->required();
  o.data.add(command);
  command.add_option("--require", o.require, "FIGURE=NUMBER,...: exit status 1 where one is missed");
  command.add_flag("--truncate", o.truncate, "Cut texts that are longer than the models take");
  command.add_option("--fallen", o.fallen, "dB below which a layer is reported as fallen (default 20)")
      ->check(CLI::Range(-200.0, 200.0));
  o.common.add_threads(command);
  o.common.add_plugins(command);
  o.common.add_output(command);
  command.callback([options, &action] {
    parse_side(options->a);
    parse_side(options->b);
    parse_requirements(options->require);
    action = [options] { return compare_models(*options); };
  });
}

}  // namespace bertie::cli
