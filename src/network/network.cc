#include "bertie/network.h"

#include <algorithm>
#include <set>

#include "network/op.h"
#include "network/plugin_registry.h"

namespace bertie {
namespace {

template <typename T>
T attribute_or(const Node& node, std::string_view name, T fallback) {
  const auto found = node.attributes.find(name);
  if (found == node.attributes.end()) return fallback;
  const T* value = std::get_if<T>(&found->second);
  if (!value) fail(ErrorCode::invalid_argument, "{} '{}': attribute '{}' has another type", node.op, node.name, name);
  return *value;
}

SymbolicShape to_symbolic(const Shape& shape) { return SymbolicShape(shape.begin(), shape.end()); }

constexpr std::pair<InputRole, std::string_view> kRoleNames[] = {{InputRole::token_ids, "input_ids"},
                                                                 {InputRole::attention_mask, "attention_mask"},
                                                                 {InputRole::type_ids, "token_type_ids"},
                                                                 {InputRole::position_ids, "position_ids"}};

}  // namespace

InputRole role_of_name(std::string_view name) {
  for (const auto& [role, known] : kRoleNames) {
    if (known == name) return role;
  }
  return InputRole::none;
}

std::string_view role_name(InputRole role) {
  switch (role) {
    case InputRole::none: return "none";
    case InputRole::token_ids: return "token_ids";
    case InputRole::attention_mask: return "attention_mask";
    case InputRole::type_ids: return "type_ids";
    case InputRole::position_ids: return "position_ids";
  }
  return "?";
}

int64_t Node::integer(std::string_view attribute, int64_t fallback) const {
  return attribute_or<int64_t>(*this, attribute, fallback);
}
double Node::real(std::string_view attribute, double fallback) const { return attribute_or<double>(*this, attribute, fallback); }
std::string Node::text(std::string_view attribute, std::string fallback) const {
  return attribute_or<std::string>(*this, attribute, std::move(fallback));
}

std::vector<int64_t> Node::integers(std::string_view attribute) const {
  return attribute_or<std::vector<int64_t>>(*this, attribute, {});
}

ValueId Network::add_integers(std::span<const int64_t> numbers) {
  return add_constant("integers", Tensor::from_int64s({static_cast<int64_t>(numbers.size())}, numbers));
}

std::string Network::unique_name(std::string wanted) {
  int& uses = names_[wanted];
  if (++uses == 1) return wanted;
  return unique_name(fmt::format("{}.{}", wanted, uses));
}

ValueId Network::add_input(std::string name, DType dtype, SymbolicShape shape) {
  const ValueId id = static_cast<ValueId>(values_.size());
  const InputRole role = role_of_name(name);
  values_.push_back({.name = unique_name(std::move(name)), .dtype = dtype, .shape = std::move(shape)});
  if (input_of(role) == kNone) values_.back().role = role;
  inputs_.push_back(id);
  return id;
}

void Network::set_role(ValueId input, InputRole role) {
  const ValueId holder = role == InputRole::none ? kNone : input_of(role);
  if (holder != kNone && holder != input) {
    fail(ErrorCode::invalid_argument, "input '{}': '{}' already is the {}", value(input).name, value(holder).name,
         role_name(role));
  }
  mutable_value(input).role = role;
}

ValueId Network::input_of(InputRole role) const {
  const auto found = std::find_if(inputs_.begin(), inputs_.end(), [&](ValueId input) { return value(input).role == role; });
  return role == InputRole::none || found == inputs_.end() ? kNone : *found;
}

ValueId Network::add_constant(std::string name, Tensor tensor) {
  if (!tensor.data && tensor.bytes() > 0) fail(ErrorCode::invalid_argument, "constant '{}': no data", name);
  const ValueId id = static_cast<ValueId>(values_.size());
  const DType dtype = tensor.dtype;
  SymbolicShape shape = to_symbolic(tensor.shape);
  values_.push_back(
      {.name = unique_name(std::move(name)), .dtype = dtype, .shape = std::move(shape), .constant = std::move(tensor)});
  return id;
}

void Network::add_output(std::string name, ValueId value) {
  if (value < 0 || static_cast<size_t>(value) >= values_.size())
    fail(ErrorCode::invalid_argument, "output '{}': no such value", name);
  for (const Output& output : outputs_) {
    if (output.name == name) fail(ErrorCode::invalid_argument, "output '{}': named twice", name);
  }
  outputs_.push_back({std::move(name), value});
}

void Network::set_position_rule(const PositionRule& rule) {
  if (rule.first < 0) fail(ErrorCode::invalid_argument, "position rule: the first position is {}: 0 or more", rule.first);
  position_rule_ = rule;
}

std::vector<ValueId> Network::add_node(std::string op, std::vector<ValueId> inputs, Attributes attributes, std::string name) {
  const OpDescriptor& descriptor = find_op(op);
  while (!inputs.empty() && inputs.back() == kNone) inputs.pop_back();
  const NodeId id = static_cast<NodeId>(nodes_.size());
  if (name.empty()) name = op;
  Node node{std::move(op), unique_name(name), std::move(inputs), {}, std::move(attributes)};
  if (const PluginOp* plugin = find_plugin_op(node.op)) complete_attributes(*plugin, node);
  for (const auto& [attribute, value] : node.attributes) {
    if (std::find(descriptor.attributes.begin(), descriptor.attributes.end(), attribute) == descriptor.attributes.end()) {
      fail(ErrorCode::invalid_argument, "{} '{}': unknown attribute '{}'", node.op, node.name, attribute);
    }
  }
  nodes_.push_back(std::move(node));
  try {
    infer_node(id);
  } catch (...) {
    nodes_.pop_back();
    throw;
  }
  return nodes_.back().outputs;
}

std::vector<const Value*> Network::input_values(const Node& node) const {
  std::vector<const Value*> inputs;
  for (ValueId input : node.inputs) {
    if (input >= static_cast<ValueId>(values_.size()) || input < kNone) {
      fail(ErrorCode::invalid_argument, "{} '{}': input {} is no value of this network", node.op, node.name, inputs.size());
    }
    inputs.push_back(input == kNone ? nullptr : &value(input));
  }
  return inputs;
}

void Network::infer_node(NodeId id) {
  Node& node = nodes_[static_cast<size_t>(id)];
  auto results = infer_outputs(node, input_values(node));
  const bool first_time = node.outputs.empty();
  for (size_t i = 0; i < results.size(); ++i) {
    if (first_time) {
      node.outputs.push_back(static_cast<ValueId>(values_.size()));
      Value& value = values_.emplace_back();
      value.name = unique_name(i == 0 ? node.name + ":out" : fmt::format("{}:out{}", node.name, i));
      value.producer = id;
    }
    Value& value = values_[static_cast<size_t>(node.outputs.at(i))];
    value.dtype = results[i].dtype;
    value.shape = std::move(results[i].shape);
    value.elements = std::move(results[i].elements);
  }
}

std::vector<NodeId> Network::order() const {
  // Depth-first from each live node in creation order, so that an untouched network keeps the order it was written in.
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> state(nodes_.size(), kNew);
  std::vector<NodeId> sorted;
  std::vector<std::pair<NodeId, size_t>> stack;
  for (size_t root = 0; root < nodes_.size(); ++root) {
    if (nodes_[root].op.empty() || state[root] != kNew) continue;
    stack.emplace_back(static_cast<NodeId>(root), 0);
    state[root] = kOpen;
    while (!stack.empty()) {
      auto& [id, next] = stack.back();
      const Node& node = nodes_[static_cast<size_t>(id)];
      if (next == node.inputs.size()) {
        state[static_cast<size_t>(id)] = kDone;
        sorted.push_back(id);
        stack.pop_back();
        continue;
      }
      const ValueId input = node.inputs[next++];
      const NodeId producer = input == kNone ? kNone : value(input).producer;
      if (producer == kNone || state[static_cast<size_t>(producer)] == kDone) continue;
      if (state[static_cast<size_t>(producer)] == kOpen) {
        fail(ErrorCode::invalid_argument, "the network has a cycle through '{}'", nodes_[static_cast<size_t>(producer)].name);
      }
      state[static_cast<size_t>(producer)] = kOpen;
      stack.emplace_back(producer, 0);
    }
  }
  return sorted;
}

std::vector<NodeId> Network::consumers(ValueId id) const {
  std::vector<NodeId> found;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const auto& inputs = nodes_[i].inputs;
    if (!nodes_[i].op.empty() && std::find(inputs.begin(), inputs.end(), id) != inputs.end())
      found.push_back(static_cast<NodeId>(i));
  }
  return found;
}

void Network::replace_uses(ValueId old_value, ValueId new_value) {
  for (Node& node : nodes_) std::replace(node.inputs.begin(), node.inputs.end(), old_value, new_value);
  replace_output(old_value, new_value);
}

void Network::replace_output(ValueId old_value, ValueId new_value) {
  for (Output& output : outputs_) {
    if (output.value == old_value) output.value = new_value;
  }
}

void Network::erase_node(NodeId id) {
  Node& node = mutable_node(id);
  for (ValueId output : node.outputs) mutable_value(output).producer = kNone;
  names_.erase(node.name);  // a node that takes its place may have it
  node = Node{};
}

size_t Network::remove_dead_nodes() {
  std::vector<bool> live(nodes_.size(), false);
  std::vector<ValueId> pending;
  for (const Output& output : outputs_) pending.push_back(output.value);
  while (!pending.empty()) {
    const ValueId id = pending.back();
    pending.pop_back();
    const NodeId producer = id == kNone ? kNone : value(id).producer;
    if (producer == kNone || live[static_cast<size_t>(producer)]) continue;
    live[static_cast<size_t>(producer)] = true;
    const auto& inputs = node(producer).inputs;
    pending.insert(pending.end(), inputs.begin(), inputs.end());
  }
  size_t removed = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].op.empty() || live[i]) continue;
    erase_node(static_cast<NodeId>(i));
    ++removed;
  }
  return removed;
}

void Network::keep_outputs(std::span<const std::string> names) {
  std::vector<Output> kept;
  for (const std::string& name : names) {
    const auto found = std::find_if(outputs_.begin(), outputs_.end(), [&](const Output& output) { return output.name == name; });
    if (found == outputs_.end()) {
      std::vector<std::string_view> available;
      for (const Output& output : outputs_) available.push_back(output.name);
      fail(ErrorCode::not_found, "no output '{}': the network has {}", name, fmt::join(available, ", "));
    }
    kept.push_back(*found);
  }
  outputs_ = std::move(kept);
}

void Network::remove_input(ValueId id) { std::erase(inputs_, id); }

void Network::infer_shapes() {
  for (NodeId id : order()) infer_node(id);
}

void Network::verify() const {
  if (outputs_.empty()) fail(ErrorCode::invalid_argument, "the network has no outputs");
  std::set<std::string_view> names;
  for (NodeId id : order()) {
    const Node& node = this->node(id);
    if (!names.insert(node.name).second)
      fail(ErrorCode::invalid_argument, "{} '{}': the name is taken twice", node.op, node.name);
    for (ValueId input : node.inputs) {
      if (input == kNone) continue;
      const Value& value = this->value(input);
      const bool known =
          value.producer != kNone || value.constant || std::find(inputs_.begin(), inputs_.end(), input) != inputs_.end();
      if (!known) fail(ErrorCode::invalid_argument, "{} '{}': input '{}' has no producer", node.op, node.name, value.name);
    }
    const auto results = infer_outputs(node, input_values(node));
    for (size_t i = 0; i < results.size(); ++i) {
      const Value& value = this->value(node.outputs.at(i));
      if (value.dtype != results[i].dtype || !(value.shape == results[i].shape)) {
        fail(ErrorCode::invalid_argument, "{} '{}': its value says {} {}, its rule {} {}", node.op, node.name,
             dtype_name(value.dtype), bertie::to_string(value.shape), dtype_name(results[i].dtype),
             bertie::to_string(results[i].shape));
      }
    }
  }
  for (const Output& output : outputs_) {
    const Value& value = this->value(output.value);
    const bool known =
        value.producer != kNone || value.constant || std::find(inputs_.begin(), inputs_.end(), output.value) != inputs_.end();
    if (!known) fail(ErrorCode::invalid_argument, "output '{}': '{}' has no producer", output.name, value.name);
  }
}

}  // namespace bertie
