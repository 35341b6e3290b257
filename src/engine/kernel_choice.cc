#include "engine/kernel_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/ranges.h>

#include "base/error.h"
#include "base/log.h"
#include "engine/kernel_by_tokens.h"
#include "engine/time_device_kernels.h"

namespace bertie {
namespace {

KernelChoice choice_of(const Backend& backend, const KernelEntry& entry, Preparation preparation) {
  return {std::move(preparation.kernel), std::string(entry.name), std::string(entry.portable_name),
          std::string(backend.name),     backend.on_device,       std::move(preparation.reason)};
}

// What the rule prefers is left only for something clearly faster: times vary by a few percent from run to run.
constexpr double kClearlyFaster = 0.97;

// Of kernels' times, the first of them the rule's.
size_t fastest(std::span<const std::optional<double>> times) {
  size_t best = 0;
  double least = *times[0];
  for (size_t i = 1; i < times.size(); ++i) {
    if (!times[i] || *times[i] >= std::min(least, *times[0] * kClearlyFaster)) continue;
    best = i;
    least = *times[i];
  }
  return best;
}

}  // namespace

KernelChooser::KernelChooser(Network& network, std::vector<const Backend*> backends, ThreadPool& packing, ThreadPool& running,
                             Tuning tuning, std::shared_ptr<Device> device)
    : network_(network),
      backends_(std::move(backends)),
      packing_(packing),
      running_(running),
      tuning_(std::move(tuning)),
      device_(std::move(device)) {
  if (!tuning_.timings) return;
  const std::vector<std::string> known = tuning_.timings->impl().machines();
  if (known.empty() || tuning_.measure) return;
  for (const Backend* backend : backends_) {
    const std::string here = machine_of(*backend);
    if (!here.empty() && std::find(known.begin(), known.end(), here) == known.end()) {
      log(LogLevel::info, "kernels were timed on {}; this machine is {}: they are chosen again by rule",
          fmt::join(known, " and "), here);
    }
  }
}

// Beside a device, only its kernels' times are looked at.
std::string KernelChooser::machine_of(const Backend& backend) const {
  if (backend.on_device) return fmt::format("{} {}", backend.name, device_->description());
  return backend.hardware && !device_ ? fmt::format("{} {}, {} threads", backend.name, backend.hardware(), running_.threads())
                                      : "";
}

const std::vector<DType>& KernelChooser::stored() {
  for (size_t i = stored_.size(); i < network_.value_count(); ++i)
    stored_.push_back(network_.value(static_cast<ValueId>(i)).dtype);
  return stored_;
}

std::string KernelChooser::key(const Node& node) {
  std::string key = node.op;
  for (ValueId input : node.inputs) {
    if (input == kNone) {
      key += "|-";
    } else if (const Value& value = network_.value(input); value.constant) {
      key += fmt::format("|#{}", input);
    } else {
      key += fmt::format("|{} {}", dtype_name(stored()[static_cast<size_t>(input)]), to_string(value.shape));
    }
  }
  for (const auto& [name, attribute] : node.attributes) key += "|" + name + "=" + to_string(attribute);
  return key;
}

void KernelChooser::make_row_major(const Node& node) {
  for (ValueId input : node.inputs) {
    if (input == kNone || !network_.value(input).constant) continue;
    Tensor& constant = *network_.mutable_value(input).constant;
    if (constant.layout != TensorLayout::rows) constant = constant.row_major();
  }
}

PrepareResult KernelChooser::prepare(const KernelEntry& entry, const Node& node, bool by_timing) {
  return entry.prepare({network_, node, packing_, entry.variant, by_timing, device_, stored()});
}

std::optional<KernelChooser::Offer> KernelChooser::choose_by_rule(const Node& node, std::string& refusals, bool on_host) {
  for (const Backend* backend : backends_) {
    if (on_host && backend->on_device) continue;
    for (const KernelEntry& entry : backend->kernels()) {
      if (entry.op != node.op) continue;
      if (!entry.reads_panels) make_row_major(node);
      PrepareResult result = prepare(entry, node, false);
      if (auto* refusal = std::get_if<Refusal>(&result)) {
        if (!refusal->reason.empty())
          refusals += fmt::format("{}{}: {}", refusals.empty() ? "" : "; ", entry.portable_name, refusal->reason);
        continue;
      }
      KernelChoice choice = choice_of(*backend, entry, std::get<Preparation>(std::move(result)));
      if (!refusals.empty()) choice.reason += fmt::format("{}refused: {}", choice.reason.empty() ? "" : "; ", refusals);
      return Offer{backend, &entry, std::move(choice)};
    }
  }
  return std::nullopt;
}

// Kernels of the same backend that also take the step. On the CPU they sum in the same order, so that the choice changes no bit.
std::vector<KernelChooser::Offer> KernelChooser::offers_beside(const Node& node, const Offer& rule) {
  const bool panels = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
    return input != kNone && network_.value(input).constant && network_.value(input).constant->layout != TensorLayout::rows;
  });
  // What follows relies on how the rule's keeps its results.
  const auto suits = [&](const Kernel& kernel) {
    return kernel.stored(0, DType::f32) == rule.choice.kernel->stored(0, DType::f32) &&
           kernel.query_block() == rule.choice.kernel->query_block();
  };
  std::vector<Offer> offers;
  const auto add = [&](const KernelEntry& entry) {
    if (entry.op != node.op || &entry == rule.entry || (panels && !entry.reads_panels)) return;
    PrepareResult result = prepare(entry, node, true);
    if (auto* preparation = std::get_if<Preparation>(&result); preparation && suits(*preparation->kernel)) {
      offers.push_back({rule.backend, &entry, choice_of(*rule.backend, entry, std::move(*preparation))});
    }
  };
  for (const KernelEntry& entry : rule.backend->kernels()) add(entry);
  if (rule.backend->alternatives) {
    for (const KernelEntry& entry : rule.backend->alternatives()) add(entry);
  }
  return offers;
}

TimedProblem KernelChooser::problem_of(const Node& node, const Backend& backend) {
  std::string operands;
  for (ValueId input : node.inputs) {
    if (!operands.empty()) operands += ", ";
    if (input == kNone) {
      operands += "-";
      continue;
    }
    const Value& value = network_.value(input);
    const DType dtype = value.constant ? value.dtype : stored()[static_cast<size_t>(input)];
    operands += fmt::format("{} {}", dtype_name(dtype), to_string(value.shape));
    if (value.constant && value.constant->layout != TensorLayout::rows)
      operands += fmt::format(" {}", layout_name(value.constant->layout));
  }
  for (const auto& [name, attribute] : node.attributes) operands += fmt::format("; {}={}", name, to_string(attribute));
  return {std::string(version()), machine_of(backend), node.op, std::move(operands)};
}

KernelChoice KernelChooser::choose_by_time(const Node& node, Offer rule) {
  if (!tuning_.timings || machine_of(*rule.backend).empty()) return std::move(rule.choice);
  const TimedProblem problem = problem_of(node, *rule.backend);
  std::optional<KernelTimes> times = tuning_.timings->impl().find(problem);
  if (!times && !tuning_.measure) return std::move(rule.choice);
  std::vector<Offer> offers = offers_beside(node, rule);
  if (offers.empty()) return std::move(rule.choice);
  offers.insert(offers.begin(), std::move(rule));
  if (!times) {
    std::vector<NamedKernel> kernels;
    for (const Offer& offer : offers) kernels.push_back({offer.choice.name, offer.choice.kernel.get()});
    times = device_ ? time_device_kernels(network_, node, kernels, stored(), device_, running_)
                    : time_kernels(network_, node, kernels, running_);
    if (!times) return std::move(offers.front().choice);
    tuning_.timings->impl().add(problem, *times);
  }
  if (!times->milliseconds.contains(offers.front().choice.name)) return std::move(offers.front().choice);
  if (!applied_) applied_ = std::make_shared<KernelTimings>();
  applied_->impl().add(problem, *times);
  return device_ ? fastest_by_tokens(std::move(offers), *times) : fastest_in_the_mean(std::move(offers), *times);
}

KernelChoice KernelChooser::fastest_in_the_mean(std::vector<Offer> offers, const KernelTimes& times) {
  std::vector<std::optional<double>> means;
  for (const Offer& offer : offers) {
    const auto found = times.milliseconds.find(offer.choice.name);
    means.push_back(found == times.milliseconds.end() ? std::nullopt : std::optional(mean_milliseconds(found->second)));
  }
  const size_t best = fastest(means);
  std::string others;
  for (size_t i = 0; i < offers.size(); ++i) {
    if (i != best && means[i])
      others += fmt::format("{} {:.3g} ms for {}", others.empty() ? "" : ",", *means[i], offers[i].choice.name);
  }
  KernelChoice choice = std::move(offers[best].choice);
  choice.reason += fmt::format("{}chosen by timing: {:.3g} ms vs{}", choice.reason.empty() ? "" : "; ", *means[best], others);
  return choice;
}

// A GPU's products want other kernels for a few tokens than for thousands.
KernelChoice KernelChooser::fastest_by_tokens(std::vector<Offer> offers, const KernelTimes& times) {
  std::vector<KernelByTokens::Range> ranges;
  std::vector<std::string> names;
  std::string reason;
  for (size_t count = 0; count < times.tokens.size(); ++count) {
    std::vector<std::optional<double>> own;
    for (const Offer& offer : offers) {
      const auto found = times.milliseconds.find(offer.choice.name);
      own.push_back(found == times.milliseconds.end() ? std::nullopt : std::optional(found->second[count]));
    }
    const size_t best = fastest(own);
    const KernelChoice& choice = offers[best].choice;
    reason += fmt::format("{} {} tokens {} {:.4f} ms of the rule's {:.4f}", reason.empty() ? "" : ",", times.tokens[count],
                          choice.name, *own[best], *own[0]);
    // Up to halfway to the next count, in logarithms.
    const bool last = count + 1 == times.tokens.size();
    const int64_t most = last ? std::numeric_limits<int64_t>::max()
                              : static_cast<int64_t>(std::sqrt(static_cast<double>(times.tokens[count]) *
                                                               static_cast<double>(times.tokens[count + 1])));
    if (!ranges.empty() && ranges.back().kernel == choice.kernel)
      ranges.back().most = most;
    else
      ranges.push_back({most, choice.kernel});
    if (std::find(names.begin(), names.end(), choice.name) == names.end()) names.push_back(choice.name);
  }
  KernelChoice choice = std::move(offers.front().choice);
  choice.reason += fmt::format("{}chosen by timing:{}", choice.reason.empty() ? "" : "; ", reason);
  choice.name = fmt::format("{}", fmt::join(names, " or "));
  choice.portable_name = choice.name;
  choice.kernel = ranges.size() == 1 ? ranges.front().kernel : std::make_shared<KernelByTokens>(std::move(ranges));
  return choice;
}

KernelChoice KernelChooser::choose(const Node& node, bool on_host) {
  std::string refusals;
  auto choice = find(node, refusals, on_host);
  if (!choice && on_host) choice = find(node, refusals);
  if (choice) {
    stored();
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      DType& own = stored_[static_cast<size_t>(node.outputs[i])];
      own = choice->kernel->stored(i, own);
    }
    return *std::move(choice);
  }
  fail(ErrorCode::unsupported, "{} '{}': no kernel takes it{}{}", node.op, node.name, refusals.empty() ? "" : ": ", refusals);
}

std::optional<KernelChoice> KernelChooser::find(const Node& node, std::string& refusals, bool on_host) {
  const std::string wanted = key(node) + (on_host ? "|on the host" : "");
  for (const auto& [known, choice] : shared_) {
    if (known == wanted) return choice;
  }
  std::optional<Offer> rule = choose_by_rule(node, refusals, on_host);
  if (!rule) return std::nullopt;
  KernelChoice choice = choose_by_time(node, *std::move(rule));
  log(LogLevel::debug, "kernel {} for {} '{}': {}", choice.name, node.op, node.name, choice.reason);
  shared_.emplace_back(wanted, choice);
  return choice;
}

}  // namespace bertie
