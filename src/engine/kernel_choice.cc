#include "engine/kernel_choice.h"

#include "base/error.h"
#include "base/log.h"

namespace bertie {

std::string KernelChooser::key(const Node& node) const {
  std::string key = node.op;
  for (ValueId input : node.inputs) {
    if (input == kNone) {
      key += "|-";
    } else if (const Value& value = network_.value(input); value.constant) {
      key += fmt::format("|#{}", input);
    } else {
      key += fmt::format("|{} {}", dtype_name(value.dtype), to_string(value.shape));
    }
  }
  for (const auto& [name, attribute] : node.attributes) key += "|" + name + "=" + to_string(attribute);
  return key;
}

KernelChoice KernelChooser::choose(const Node& node) {
  std::string refusals;
  if (auto choice = find(node, refusals)) return *std::move(choice);
  fail(ErrorCode::unsupported, "{} '{}': no kernel takes it{}{}", node.op, node.name, refusals.empty() ? "" : ": ", refusals);
}

std::optional<KernelChoice> KernelChooser::find(const Node& node, std::string& refusals) {
  const std::string wanted = key(node);
  for (const auto& [known, choice] : shared_) {
    if (known == wanted) return choice;
  }
  for (const Backend* backend : backends_) {
    for (const KernelEntry& entry : backend->kernels()) {
      if (entry.op != node.op) continue;
      PrepareResult result = entry.prepare({network_, node, pool_});
      if (auto* refusal = std::get_if<Refusal>(&result)) {
        refusals += fmt::format("{}{}: {}", refusals.empty() ? "" : "; ", entry.name, refusal->reason);
        continue;
      }
      auto& preparation = std::get<Preparation>(result);
      KernelChoice choice{std::move(preparation.kernel), std::string(entry.name), std::string(backend->name),
                          std::move(preparation.reason)};
      if (!refusals.empty()) choice.reason += fmt::format("{}refused: {}", choice.reason.empty() ? "" : "; ", refusals);
      log(LogLevel::debug, "kernel {} for {} '{}': {}", choice.name, node.op, node.name, choice.reason);
      shared_.emplace_back(wanted, choice);
      return choice;
    }
  }
  return std::nullopt;
}

}  // namespace bertie
