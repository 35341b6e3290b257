// One descriptor an op: what it takes, and the rule that checks it and gives its result's shape.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "bertie/network.h"

namespace bertie {

inline bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f64;
}
// Of a result: floats of any width give f32.
inline DType widened(DType dtype) { return is_float(dtype) ? DType::f32 : dtype; }
inline bool is_index(DType dtype) { return dtype == DType::i32 || dtype == DType::i64; }

// "f32" -> DType::f32.
std::optional<DType> dtype_named(std::string_view name);

struct OpDescriptor;

// Elements of a small integer constant, or those a shape rule found. Longer tensors are data, not shapes.
inline constexpr int64_t kKnownElements = 64;
std::optional<SymbolicShape> known_elements(const Value& value);
// As known_elements, where all of them are numbers.
std::optional<std::vector<int64_t>> known_integers(const Value& value);

// The result of a shape rule: one output.
struct InferredOutput {
  DType dtype = DType::f32;
  SymbolicShape shape;
  std::optional<SymbolicShape> elements;  // of small integer tensors, where they are known: see Value
};

// One node under inspection. Every failure is one line that names the op, the node, its inputs and what was expected.
class OpContext {
 public:
  // `inputs`: one a node input, nullptr where it is left out.
  OpContext(const Node& node, const OpDescriptor& op, std::vector<const Value*> inputs)
      : node_(node), op_(op), inputs_(std::move(inputs)) {}

  const Node& node() const { return node_; }
  size_t input_count() const { return inputs_.size(); }
  bool has(size_t input) const { return input < inputs_.size() && inputs_[input]; }
  const Value& value(size_t input) const { return *inputs_[input]; }
  const SymbolicShape& shape(size_t input) const { return value(input).shape; }
  DType dtype(size_t input) const { return value(input).dtype; }
  // Elements of an integer scalar or vector, where they are known before the run.
  std::optional<SymbolicShape> elements(size_t input) const { return known_elements(value(input)); }
  // As elements(), all of them numbers.
  std::optional<std::vector<int64_t>> integers(size_t input) const { return known_integers(value(input)); }

  // The one element of a constant, or of a concrete input, of any dtype; a known integer too.
  std::optional<double> number(size_t input) const;

  void require(bool condition, std::string_view expected) const {
    if (!condition) reject(expected);
  }
  void require_float(size_t input) const;
  void require_index(size_t input) const;
  void require_rank(size_t input, size_t rank) const;
  void require_vector(size_t input, const Dim& extent) const;  // rank 1 of this extent, floating
  void require_one_of(std::string_view attribute, std::string_view value, std::initializer_list<std::string_view> allowed) const;
  const Dim& last_dim(size_t input) const;  // fails on rank 0
  // `axis` counted from the front, for a tensor of this rank; fails where it is outside.
  size_t axis(int64_t axis, size_t rank) const;

  [[noreturn]] void reject(std::string_view expected) const;

  void output(DType dtype, SymbolicShape shape, std::optional<SymbolicShape> elements = std::nullopt) {
    outputs_.push_back({dtype, std::move(shape), std::move(elements)});
  }
  std::vector<InferredOutput> take_outputs() { return std::move(outputs_); }

 private:
  const Node& node_;
  const OpDescriptor& op_;
  std::vector<const Value*> inputs_;
  std::vector<InferredOutput> outputs_;
};

struct OpDescriptor {
  std::string_view name;
  size_t required_inputs;
  std::vector<std::string_view> inputs;      // names, optional ones last
  std::vector<std::string_view> attributes;  // names it knows
  void (*infer)(OpContext&);
  bool variadic = false;    // the last input may be repeated
  bool reads_data = false;  // its extents depend on elements beyond those of small integer tensors: `non_zero`
};

// Checks a node's inputs and runs its rule.
std::vector<InferredOutput> infer_outputs(const Node& node, std::vector<const Value*> inputs);

// The vocabulary, then plugins' ops. Throws Error(unsupported) naming an op that nobody registered.
const OpDescriptor& find_op(std::string_view name);
std::vector<std::string_view> op_names();

// One definition each, in the op's file.
const OpDescriptor& arg_reduce_op();
const OpDescriptor& attention_op();
const OpDescriptor& cast_op();
const OpDescriptor& clip_op();
const OpDescriptor& concat_op();
const OpDescriptor& constant_of_shape_op();
const OpDescriptor& cumulative_sum_op();
const OpDescriptor& dequantize_linear_op();
const OpDescriptor& dynamic_quantize_linear_op();
const OpDescriptor& einsum_op();
const OpDescriptor& elementwise_op();
const OpDescriptor& embedding_op();
const OpDescriptor& embedding_layer_norm_op();
const OpDescriptor& expand_op();
const OpDescriptor& fake_quantize_op();
const OpDescriptor& fp8_linear_op();
const OpDescriptor& gather_op();
const OpDescriptor& gather_elements_op();
const OpDescriptor& gather_nd_op();
const OpDescriptor& gather_rows_op();
const OpDescriptor& gelu_op();
const OpDescriptor& int8_linear_op();
const OpDescriptor& layer_norm_op();
const OpDescriptor& linear_op();
const OpDescriptor& linear_skip_layer_norm_op();
const OpDescriptor& matmul_op();
const OpDescriptor& matmul_integer_op();
const OpDescriptor& non_zero_op();
const OpDescriptor& normalize_op();
const OpDescriptor& one_hot_op();
const OpDescriptor& pack_rows_op();
const OpDescriptor& pad_op();
const OpDescriptor& pool_op();
const OpDescriptor& quantize_linear_op();
const OpDescriptor& quantize_rows_op();
const OpDescriptor& range_op();
const OpDescriptor& reduce_op();
const OpDescriptor& reshape_op();
const OpDescriptor& scatter_elements_op();
const OpDescriptor& scatter_nd_op();
const OpDescriptor& shape_op();
const OpDescriptor& size_op();
const OpDescriptor& skip_layer_norm_op();
const OpDescriptor& slice_op();
const OpDescriptor& softmax_op();
const OpDescriptor& split_op();
const OpDescriptor& squeeze_op();
const OpDescriptor& tile_op();
const OpDescriptor& top_k_log_sum_exp_op();
const OpDescriptor& top_k_op();
const OpDescriptor& transpose_op();
const OpDescriptor& trilu_op();
const OpDescriptor& unary_op();
const OpDescriptor& unsqueeze_op();
const OpDescriptor& where_op();

}  // namespace bertie
