#include "network/plugin_node.h"

#include <algorithm>

namespace bertie {
namespace {

std::vector<const Value*> values_of(const Network& network, std::span<const ValueId> ids) {
  std::vector<const Value*> values;
  for (ValueId id : ids) values.push_back(id == kNone ? nullptr : &network.value(id));
  return values;
}

}  // namespace

PluginNode::PluginNode(const Network& network, const Node& node)
    : PluginNode(node, values_of(network, node.inputs), values_of(network, node.outputs)) {}

PluginNode::PluginNode(const Node& node, std::span<const Value* const> inputs, std::span<const Value* const> outputs) {
  for (const Value* input : inputs) inputs_.push_back(input ? describe(*input) : BertieValue{});
  for (const Value* output : outputs) outputs_.push_back(describe(*output));
  for (const auto& [name, attribute] : node.attributes) {
    if (name != kPluginVersion) attributes_.push_back(plugin::detail::to_abi(name, attribute));
  }
  abi_ = {.size = sizeof(BertieNode),
          .op = node.op.c_str(),
          .name = node.name.c_str(),
          .input_count = static_cast<int64_t>(inputs_.size()),
          .inputs = inputs_.data(),
          .output_count = static_cast<int64_t>(outputs_.size()),
          .outputs = outputs_.data(),
          .attribute_count = static_cast<int64_t>(attributes_.size()),
          .attributes = attributes_.data()};
}

BertieValue PluginNode::describe(const Value& value) {
  auto& shape = shapes_.emplace_back();
  for (const Dim& dim : value.shape) shape.push_back({dim.size, dim.is_fixed() ? nullptr : dim.symbol.c_str()});
  BertieValue abi = {};
  abi.name = value.name.c_str();
  abi.dtype = static_cast<int32_t>(value.dtype);
  abi.rank = static_cast<int32_t>(shape.size());
  abi.shape = shape.data();
  abi.is_constant = value.constant.has_value();
  abi.constant = value.constant ? value.constant->data.get() : nullptr;
  const auto known = known_elements(value);
  if (known && std::all_of(known->begin(), known->end(), [](const Dim& element) { return element.is_fixed(); })) {
    auto& elements = elements_.emplace_back();
    elements.reserve(known->size() + 1);  // never a null pointer, which stands for unknown
    for (const Dim& element : *known) elements.push_back(element.size);
    abi.elements = elements.data();
    abi.element_count = static_cast<int64_t>(elements.size());
  }
  return abi;
}

void PluginText::append(void* target, const char* text, size_t length) noexcept {
  constexpr size_t kLongest = 4096;
  try {
    std::string& own = static_cast<PluginText*>(target)->text_;
    if (text) own.append(text, std::min(length, kLongest - std::min(kLongest, own.size())));
  } catch (const std::bad_alloc&) {  // the sentence is lost; the status is not
  }
}

std::string PluginText::line() const {
  std::string line = text_;
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  const size_t end = line.find_last_not_of(' ');
  return end == std::string::npos ? "no reason given" : line.substr(0, end + 1);
}

void fail_plugin(const PluginOp& op, std::string_view node, std::string_view doing, std::string_view text) {
  fail(ErrorCode::plugin_failed, "plugin '{}', {} '{}': {}: {}", op.plugin, op.descriptor.name, node, doing, text);
}

Dim to_dim(const BertieDim& dim, const Dim& unknown) {
  if (!dim.symbol) return dim.size;
  return *dim.symbol ? Dim(dim.symbol) : unknown;
}

Attribute to_attribute(const BertieAttribute& attribute) {
  const size_t count = static_cast<size_t>(attribute.count);
  switch (attribute.type) {
    case BERTIE_INTEGER: return attribute.integer;
    case BERTIE_REAL: return attribute.real;
    case BERTIE_TEXT: return std::string(attribute.text, count);
    case BERTIE_INTEGERS: return std::vector<int64_t>(attribute.integers, attribute.integers + count);
    default: return std::vector<double>(attribute.reals, attribute.reals + count);
  }
}

}  // namespace bertie
