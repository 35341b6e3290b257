#include "network/op.h"

#include <array>

namespace bertie {

void OpContext::reject(std::string_view expected) const {
  std::string inputs;
  for (size_t i = 0; i < node_.inputs.size(); ++i) {
    if (i) inputs += ", ";
    const std::string label = i < op_.inputs.size() ? std::string(op_.inputs[i]) : fmt::format("input {}", i);
    if (node_.inputs[i] == kNone) {
      inputs += label + " absent";
      continue;
    }
    const Value& value = network_.value(node_.inputs[i]);
    inputs += fmt::format("{} '{}' {} {}", label, value.name, dtype_name(value.dtype), to_string(value.shape));
  }
  fail(ErrorCode::invalid_argument, "{} '{}': expected {}; got {}", node_.op, node_.name, expected, inputs);
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
constexpr std::array<Getter, 12> kOps = {attention_op,  elementwise_op, embedding_op,  embedding_layer_norm_op,
                                         gather_rows_op, gelu_op,        layer_norm_op, linear_op,
                                         normalize_op,   pool_op,        skip_layer_norm_op, unary_op};
}  // namespace

const OpDescriptor& find_op(std::string_view name) {
  for (Getter op : kOps) {
    if (op().name == name) return op();
  }
  fail(ErrorCode::unsupported, "op '{}': not in the vocabulary", name);
}

std::vector<std::string_view> op_names() {
  std::vector<std::string_view> names;
  for (Getter op : kOps) names.push_back(op().name);
  return names;
}

}  // namespace bertie
