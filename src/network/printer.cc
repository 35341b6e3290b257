// Network as text: one line a node.
#include "network/op.h"

namespace bertie {

std::string to_string(const SymbolicShape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ", ";
    text += shape[i].is_fixed() ? std::to_string(shape[i].size) : shape[i].symbol;
  }
  return text + "]";
}

std::string to_string(const Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::vector<int64_t>> || std::is_same_v<T, std::vector<double>>) {
          return fmt::format("[{}]", fmt::join(value, ", "));
        } else {
          return fmt::format("{}", value);
        }
      },
      attribute);
}

std::string Network::to_string() const {
  std::string text;
  for (ValueId id : inputs_) {
    const Value& input = value(id);
    text += fmt::format("input  {} {} {}\n", input.name, dtype_name(input.dtype), bertie::to_string(input.shape));
  }
  if (position_rule_) {
    text += fmt::format("positions from {}", position_rule_->first);
    if (position_rule_->padding_id >= 0) text += fmt::format(", token {} not counted", position_rule_->padding_id);
    text += "\n";
  }
  for (NodeId id : order()) {
    const Node& node = this->node(id);
    text += fmt::format("{:<22} {}(", node.op, node.name);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (i) text += ", ";
      text += node.inputs[i] == kNone ? "-" : value(node.inputs[i]).name;
    }
    text += ")";
    for (const auto& [name, attribute] : node.attributes) text += fmt::format(" {}={}", name, bertie::to_string(attribute));
    for (ValueId output : node.outputs)
      text += fmt::format(" -> {} {}", dtype_name(value(output).dtype), bertie::to_string(value(output).shape));
    text += "\n";
  }
  for (const Output& output : outputs_)
    text +=
        fmt::format("output {} = {} {}\n", output.name, value(output.value).name, bertie::to_string(value(output.value).shape));
  return text;
}

}  // namespace bertie
