#include "models/onnx_node.h"

#include <algorithm>

#include "network/op.h"

namespace bertie::models {

OnnxNode::OnnxNode(Network& network, const onnx::Node& node, std::vector<onnx::Attribute> attributes, std::vector<ValueId> inputs,
                   std::vector<bool> wanted, int64_t opset, std::string name)
    : network_(network),
      node_(node),
      attributes_(std::move(attributes)),
      inputs_(std::move(inputs)),
      wanted_(std::move(wanted)),
      outputs_(wanted_.size(), kNone),
      opset_(opset),
      name_(std::move(name)) {}

ValueId OnnxNode::input(size_t index) {
  if (!has(index)) contradict("input {} is missing", index);
  used_inputs_.insert(index);
  return inputs_[index];
}

ValueId OnnxNode::optional_input(size_t index) { return has(index) ? input(index) : kNone; }

void OnnxNode::require_float(size_t index) {
  if (has(index) && !is_float(dtype(inputs_[index]))) refuse("input {} of {}", index, dtype_name(dtype(inputs_[index])));
}

std::optional<Tensor> OnnxNode::constant_input(size_t index) {
  if (!has(index)) return std::nullopt;
  auto known = known_tensor(network_, input(index));
  if (!known) refuse("input {} is computed at run time", index);
  return known;
}

std::optional<Tensor> known_tensor(const Network& network, ValueId id) {
  const Value& value = network.value(id);
  if (value.constant) return value.constant;
  if (!value.elements) return std::nullopt;
  std::vector<int64_t> numbers;
  for (const Dim& element : *value.elements) {
    if (!element.is_fixed()) return std::nullopt;
    numbers.push_back(element.size);
  }
  const Shape shape = value.shape.empty() ? Shape{} : Shape{static_cast<int64_t>(numbers.size())};
  return Tensor::from_int64s(shape, numbers);
}

template <typename T>
const T* OnnxNode::find(std::string_view name, std::string_view kind) {
  const auto found =
      std::find_if(attributes_.begin(), attributes_.end(), [&](const onnx::Attribute& each) { return each.name == name; });
  if (found == attributes_.end()) return nullptr;
  used_attributes_.emplace(name);
  const T* value = std::get_if<T>(&found->value);
  if (!value) contradict("attribute '{}' is of type {}, not {}", name, found->kind, kind);
  return value;
}

bool OnnxNode::has_attribute(std::string_view name) const {
  return std::any_of(attributes_.begin(), attributes_.end(), [&](const onnx::Attribute& each) { return each.name == name; });
}

int64_t OnnxNode::integer(std::string_view name, int64_t fallback) {
  const auto* value = find<int64_t>(name, "INT");
  return value ? *value : fallback;
}

double OnnxNode::real(std::string_view name, double fallback) {
  const auto* value = find<double>(name, "FLOAT");
  return value ? *value : fallback;
}

std::string OnnxNode::text(std::string_view name, std::string_view fallback) {
  const auto* value = find<std::string>(name, "STRING");
  return value ? *value : std::string(fallback);
}

std::optional<std::vector<int64_t>> OnnxNode::integers(std::string_view name) {
  const auto* value = find<std::vector<int64_t>>(name, "INTS");
  return value ? std::optional(*value) : std::nullopt;
}

std::optional<std::vector<double>> OnnxNode::reals(std::string_view name) {
  const auto* value = find<std::vector<double>>(name, "FLOATS");
  return value ? std::optional(*value) : std::nullopt;
}

std::optional<Tensor> OnnxNode::tensor(std::string_view name) {
  const auto* value = find<Tensor>(name, "TENSOR");
  return value ? std::optional(*value) : std::nullopt;
}

void OnnxNode::expect(std::string_view name, int64_t value) {
  const int64_t stated = integer(name, value);
  if (stated != value) refuse("attribute '{}' = {}", name, stated);
}

void OnnxNode::output(size_t index, ValueId value) {
  if (index < outputs_.size()) outputs_[index] = value;
}

std::vector<ValueId> OnnxNode::make_all(std::string op, std::vector<ValueId> inputs, Attributes attributes) {
  return network_.add_node(std::move(op), std::move(inputs), std::move(attributes), name_);
}

ValueId OnnxNode::make(std::string op, std::vector<ValueId> inputs, Attributes attributes) {
  return make_all(std::move(op), std::move(inputs), std::move(attributes))[0];
}

ValueId OnnxNode::scalar(float value) { return network_.add_constant("scalar", Tensor::from_floats({}, std::span(&value, 1))); }

ValueId OnnxNode::cast(ValueId x, DType to) { return make("cast", {x}, {{"to", std::string(dtype_name(to))}}); }

int64_t OnnxNode::axis(int64_t axis, int64_t rank) const {
  if (axis < -rank || axis >= rank) contradict("axis {} of a tensor of rank {}", axis, rank);
  return axis < 0 ? axis + rank : axis;
}

void OnnxNode::check_all_used() const {
  for (const onnx::Attribute& attribute : attributes_) {
    if (!used_attributes_.contains(attribute.name)) refuse("attribute '{}'", attribute.name);
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i] != kNone && !used_inputs_.contains(i)) refuse("input {}", i);
  }
  for (size_t i = 0; i < wanted_.size(); ++i) {
    if (wanted_[i] && outputs_[i] == kNone) refuse("output {}", i);
  }
}

const OnnxOp* find_onnx_op(std::string_view domain, std::string_view op, int64_t opset) {
  const OnnxOp* newest = nullptr;
  bool known = false;
  const auto search = [&](std::span<const OnnxOp> rows) {
    for (const OnnxOp& row : rows) {
      if (row.op != op) continue;
      known = true;
      if (row.since <= opset) newest = &row;
    }
  };
  if (domain.empty()) {
    for (const auto rows : {onnx_elementwise_ops(), onnx_shape_ops(), onnx_tensor_ops(), onnx_quantize_ops()}) search(rows);
  }
  if (known && !newest) throw OnnxRefusal{fmt::format("its definition in opset {}", opset)};
  return newest;
}

}  // namespace bertie::models
