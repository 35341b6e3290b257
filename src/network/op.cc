#include "network/op.h"

#include "network/element.h"
#include "network/plugin_registry.h"

namespace bertie {

void OpContext::reject(std::string_view expected) const {
  std::string got;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (i) got += ", ";
    const std::string label = i < op_.inputs.size() ? std::string(op_.inputs[i]) : fmt::format("input {}", i);
    if (!inputs_[i]) {
      got += label + " absent";
      continue;
    }
    got += fmt::format("{} '{}' {} {}", label, inputs_[i]->name, dtype_name(inputs_[i]->dtype), to_string(inputs_[i]->shape));
  }
  fail(ErrorCode::invalid_argument, "{} '{}': expected {}; got {}", node_.op, node_.name, expected, got);
}

std::optional<SymbolicShape> known_elements(const Value& value) {
  if (value.elements) return value.elements;
  if (!value.constant || !is_index(value.dtype) || value.shape.size() > 1) return std::nullopt;
  const int64_t count = value.constant->shape.elements();
  if (count > kKnownElements || (count > 0 && !value.constant->data)) return std::nullopt;
  SymbolicShape elements;
  for (int64_t i = 0; i < count; ++i) {
    const TensorView view = value.constant->view();
    elements.emplace_back(value.dtype == DType::i64 ? view.as<int64_t>()[i] : view.as<int32_t>()[i]);
  }
  return elements;
}

std::optional<std::vector<int64_t>> known_integers(const Value& value) {
  const auto known = known_elements(value);
  if (!known) return std::nullopt;
  std::vector<int64_t> numbers;
  for (const Dim& element : *known) {
    if (!element.is_fixed()) return std::nullopt;
    numbers.push_back(element.size);
  }
  return numbers;
}

std::optional<double> OpContext::number(size_t input) const {
  const Value& value = this->value(input);
  if (value.constant && value.constant->data && value.constant->shape.elements() == 1) return element(value.constant->view(), 0);
  const auto known = integers(input);
  return known && known->size() == 1 ? std::optional(static_cast<double>(known->front())) : std::nullopt;
}

size_t OpContext::axis(int64_t axis, size_t rank) const {
  const int64_t extent = static_cast<int64_t>(rank);
  if (axis < -extent || axis >= extent) reject(fmt::format("an axis within rank {}, not {}", rank, axis));
  return static_cast<size_t>(axis < 0 ? axis + extent : axis);
}

std::vector<InferredOutput> infer_outputs(const Node& node, std::vector<const Value*> inputs) {
  const OpDescriptor& op = find_op(node.op);
  if (inputs.size() > op.inputs.size() && !op.variadic) {
    fail(ErrorCode::invalid_argument, "{} '{}': {} inputs, at most {}", node.op, node.name, inputs.size(), op.inputs.size());
  }
  // An input in the middle may be left out where the op's own rule allows it; the first and the last required one may not.
  if (inputs.size() < op.required_inputs || (!inputs.empty() && !inputs[0])) {
    fail(ErrorCode::invalid_argument, "{} '{}': input '{}' is missing", node.op, node.name,
         op.inputs[inputs.empty() || !inputs[0] ? 0 : inputs.size()]);
  }
  OpContext context(node, op, std::move(inputs));
  op.infer(context);
  return context.take_outputs();
}

void OpContext::require_float(size_t input) const {
  if (!is_float(value(input).dtype)) reject(fmt::format("a floating {}", op_.inputs[input]));
}

void OpContext::require_index(size_t input) const {
  if (!is_index(value(input).dtype)) reject(fmt::format("{} of i32 or i64", op_.inputs[input]));
}

void OpContext::require_rank(size_t input, size_t rank) const {
  if (shape(input).size() != rank) reject(fmt::format("{} of rank {}", op_.inputs[input], rank));
}

void OpContext::require_vector(size_t input, const Dim& extent) const {
  require_float(input);
  if (shape(input).size() != 1 || !(shape(input)[0] == extent)) {
    reject(fmt::format("{} of shape {}", op_.inputs[input], to_string(SymbolicShape{extent})));
  }
}

void OpContext::require_one_of(std::string_view attribute, std::string_view value,
                               std::initializer_list<std::string_view> allowed) const {
  for (std::string_view candidate : allowed) {
    if (candidate == value) return;
  }
  reject(fmt::format("{} to be one of {}, not '{}'", attribute, fmt::join(allowed, ", "), value));
}

const Dim& OpContext::last_dim(size_t input) const {
  if (shape(input).empty()) reject(fmt::format("{} of rank 1 or more", op_.inputs[input]));
  return shape(input).back();
}

namespace {
using Getter = const OpDescriptor& (*)();
constexpr Getter kOps[] = {
    arg_reduce_op,
    attention_op,
    cast_op,
    clip_op,
    concat_op,
    constant_of_shape_op,
    cumulative_sum_op,
    dequantize_linear_op,
    dynamic_quantize_linear_op,
    einsum_op,
    elementwise_op,
    embedding_op,
    embedding_layer_norm_op,
    expand_op,
    fake_quantize_op,
    fp8_linear_op,
    gather_op,
    gather_elements_op,
    gather_nd_op,
    gather_rows_op,
    gelu_op,
    int8_linear_op,
    layer_norm_op,
    linear_op,
    linear_skip_layer_norm_op,
    matmul_op,
    matmul_integer_op,
    non_zero_op,
    normalize_op,
    one_hot_op,
    pack_rows_op,
    pad_op,
    pool_op,
    quantize_linear_op,
    quantize_rows_op,
    range_op,
    reduce_op,
    reshape_op,
    scatter_elements_op,
    scatter_nd_op,
    shape_op,
    size_op,
    skip_layer_norm_op,
    slice_op,
    softmax_op,
    split_op,
    squeeze_op,
    tile_op,
    top_k_log_sum_exp_op,
    top_k_op,
    transpose_op,
    trilu_op,
    unary_op,
    unsqueeze_op,
    where_op,
};
}  // namespace

const OpDescriptor& find_op(std::string_view name) {
  for (Getter op : kOps) {
    if (op().name == name) return op();
  }
  if (const PluginOp* op = find_plugin_op(name)) return op->descriptor;
  const bool custom = name.find("::") != std::string_view::npos;
  fail(ErrorCode::unsupported, "op '{}': {}", name, custom ? "no plugin that is loaded has it" : "not in the vocabulary");
}

std::vector<std::string_view> op_names() {
  std::vector<std::string_view> names;
  for (Getter op : kOps) names.push_back(op().name);
  for (const PluginOp* op : plugin_ops()) names.push_back(op->descriptor.name);
  return names;
}

}  // namespace bertie
