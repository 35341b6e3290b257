#include "models/onnx_node.h"

#include <algorithm>

#include "network/op.h"
#include "reference/evaluate.h"

namespace bertie::models {

OnnxNode::OnnxNode(Network& network, std::vector<onnx::Attribute> attributes, std::vector<ValueId> inputs,
                   std::vector<bool> wanted, int64_t opset, std::string name)
    : network_(network),
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

ValueId OnnxNode::known_input(size_t index) {
  const ValueId value = optional_input(index);
  if (value == kNone || known_elements(network_.value(value))) return value;
  if (auto known = known_tensor(network_, value)) return network_.add_constant(name_ + ".known", std::move(*known));
  refuse("input {} is computed at run time", index);
}

ValueId OnnxNode::input_of_known_length(size_t index) {
  const ValueId value = input(index);
  const bool known = rank(value) == 1 && shape(value)[0].is_fixed();
  if (known && shape(value)[0].size > Shape::kMaxRank) refuse("input {} of {} elements", index, shape(value)[0].size);
  return known || known_elements(network_.value(value)) ? value : known_input(index);
}

std::optional<Tensor> OnnxNode::constant_input(size_t index) {
  if (!has(index)) return std::nullopt;
  auto known = known_tensor(network_, input(index));
  if (!known) refuse("input {} is computed at run time", index);
  return known;
}

namespace {

// As known_tensor, without running anything.
std::optional<Tensor> stated_tensor(const Network& network, ValueId id) {
  const Value& value = network.value(id);
  if (value.constant) return value.constant;
  if (!value.elements) return std::nullopt;
  std::vector<int64_t> numbers;
  for (const Dim& element : *value.elements) {
    if (!element.is_fixed()) return std::nullopt;
    numbers.push_back(element.size);
  }
  const Shape shape = value.shape.empty() ? Shape{} : Shape{static_cast<int64_t>(numbers.size())};
  if (value.dtype == DType::i64) return Tensor::from_int64s(shape, numbers);
  if (value.dtype != DType::i32) return std::nullopt;
  const std::shared_ptr<int32_t[]> narrow(new int32_t[numbers.size()]);
  std::transform(numbers.begin(), numbers.end(), narrow.get(), [](int64_t number) { return static_cast<int32_t>(number); });
  return Tensor{DType::i32, shape, std::shared_ptr<const void>(narrow, narrow.get())};
}

}  // namespace

namespace {

// Untrusted extents: nothing large is computed for a look at a condition or an axis.
bool is_small(const SymbolicShape& shape) {
  constexpr int64_t kMostElements = 4096;
  int64_t elements = 1;
  for (const Dim& dim : shape) {
    if (!dim.is_fixed() || dim.size > kMostElements) return false;
    elements = std::min(elements * dim.size, kMostElements + 1);
  }
  return elements <= kMostElements;
}

}  // namespace

std::optional<Tensor> known_tensor(const Network& network, ValueId id) {
  constexpr size_t kMostValues = 256;  // more than any condition or axis is made of
  if (auto stated = stated_tensor(network, id)) return stated;
  std::map<ValueId, Tensor> known;
  std::set<ValueId> seen = {id};
  std::vector<ValueId> pending = {id};
  while (!pending.empty()) {
    const ValueId next = pending.back();
    pending.pop_back();
    if (auto stated = stated_tensor(network, next)) {
      if (!network.value(next).constant) known.emplace(next, std::move(*stated));
      continue;
    }
    const NodeId producer = network.value(next).producer;
    if (producer == kNone || seen.size() > kMostValues || !is_small(network.value(next).shape)) return std::nullopt;
    for (ValueId input : network.node(producer).inputs) {
      if (input != kNone && seen.insert(input).second) pending.push_back(input);
    }
  }
  return evaluate(network, std::span(&id, 1), known)[0];
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

void OnnxNode::make_plugin(std::string_view op) {
  Attributes attributes;
  for (const onnx::Attribute& attribute : attributes_) {
    used_attributes_.insert(attribute.name);
    std::visit(
        [&](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_constructible_v<Attribute, T> && !std::is_same_v<T, std::monostate>) {
            attributes.emplace(attribute.name, value);
          } else {
            refuse("attribute '{}' of type {}", attribute.name, attribute.kind);
          }
        },
        attribute.value);
  }
  for (size_t i = 0; i < inputs_.size(); ++i) used_inputs_.insert(i);
  const auto results = make_all(std::string(op), inputs_, std::move(attributes));
  for (size_t i = 0; i < results.size(); ++i) output(i, results[i]);
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
    for (const auto rows :
         {onnx_elementwise_ops(), onnx_shape_ops(), onnx_tensor_ops(), onnx_quantize_ops(), onnx_attention_ops()}) {
      search(rows);
    }
  } else if (domain == "com.microsoft") {
    for (const auto rows : {microsoft_ops(), microsoft_attention_ops(), microsoft_quantize_ops()}) search(rows);
  }
  if (known && !newest) throw OnnxRefusal{fmt::format("its definition in opset {}", opset)};
  return newest;
}

}  // namespace bertie::models
