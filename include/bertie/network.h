// The network-definition API: a typed graph of ops with weights attached.
//
// A network laid down by hand, built by a model family or imported from ONNX is the same thing. Elementary ops follow
// ONNX semantics; each fused op is defined by its composition from elementary ones (docs/design/ops.md).
//
// Dimension letters used everywhere: T tokens, B sequences, S longest, H heads, D head dim, E hidden, F feed-forward,
// V vocabulary, R rows wanted from the head.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bertie/tensor.h"

namespace bertie {

// A fixed extent, or a symbol known only at run time: "batch", "sequence", "tokens", "rows" or a name of the caller's.
struct BERTIE_API Dim {
  int64_t size = -1;   // -1: symbolic
  std::string symbol;  // empty: fixed

  Dim(int64_t extent) : size(extent) {}
  Dim(int extent) : size(extent) {}
  Dim(const char* name) : symbol(name) {}
  Dim(std::string name) : symbol(std::move(name)) {}
  bool is_fixed() const { return symbol.empty(); }
  bool operator==(const Dim&) const = default;
};

using SymbolicShape = std::vector<Dim>;
BERTIE_API std::string to_string(const SymbolicShape& shape);  // "[batch, sequence, 384]"

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;
BERTIE_API std::string to_string(const Attribute& attribute);
using Attributes = std::map<std::string, Attribute, std::less<>>;

using ValueId = int32_t;
using NodeId = int32_t;
inline constexpr int32_t kNone = -1;  // an optional input left out; a value without a producer

// What an input of an encoder means, whatever its name is: who feeds a network, and the passes that pack it, go by this.
enum class InputRole { none, token_ids, attention_mask, type_ids, position_ids };
// The role that a name says: "input_ids", "attention_mask", "token_type_ids", "position_ids".
BERTIE_API InputRole role_of_name(std::string_view name);
BERTIE_API std::string_view role_name(InputRole role);  // "token_ids", ...

struct Value {
  std::string name;
  DType dtype = DType::f32;
  SymbolicShape shape;
  NodeId producer = kNone;         // kNone: a network input or a constant
  std::optional<Tensor> constant;  // its bytes may be f32, f16 or bf16; kernels read them as `dtype` says
  // What a shape rule knows of the elements of a small integer tensor: numbers and symbols ("Shape(x) is [batch, 128]").
  std::optional<SymbolicShape> elements;
  InputRole role = InputRole::none;  // of network inputs
};

struct BERTIE_API Node {
  std::string op;    // the file stem: "linear", "layer_norm", ...
  std::string name;  // unique: "encoder.layer.3.attention"
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attributes attributes;

  // Attributes with defaults; throw Error(invalid_argument) where the stored type differs.
  int64_t integer(std::string_view attribute, int64_t fallback = 0) const;
  double real(std::string_view attribute, double fallback = 0) const;
  std::string text(std::string_view attribute, std::string fallback = "") const;
  std::vector<int64_t> integers(std::string_view attribute) const;
  ValueId input(size_t index) const { return index < inputs.size() ? inputs[index] : kNone; }
};

// How the elements of a network input `position_ids` follow from `input_ids` where the caller gives none: counted along each row.
struct PositionRule {
  int32_t first = 0;        // the first token's position
  int32_t padding_id = -1;  // RoBERTa's rule where >= 0: this token gets position `padding_id` and is not counted

  bool operator==(const PositionRule&) const = default;
};

class BERTIE_API Network {
 public:
  // --- Values ---
  // Names are unique; a taken one gets a numeric suffix. An input's role is what its name says, until `set_role`.
  ValueId add_input(std::string name, DType dtype, SymbolicShape shape);
  ValueId add_constant(std::string name, Tensor tensor);
  void add_output(std::string name, ValueId value);
  // Throws Error(invalid_argument) where `first` is negative.
  void set_position_rule(const PositionRule& rule);
  // Throws Error(invalid_argument) where another input has this role.
  void set_role(ValueId input, InputRole role);

  // --- Ops ---
  // Each throws Error(invalid_argument) naming the op, its inputs and what was expected. `name` is the node's; an empty one
  // is made from the op. Floating inputs may be f32, f16 or bf16 constants; results are f32.

  // Rows of `table` [N, E]; ids [...] i32/i64. -> [..., E]
  ValueId add_embedding(ValueId table, ValueId ids, std::string name = "");
  // x [..., K] times weight [N, K] transposed, plus bias [N] (or kNone). -> [..., N]
  ValueId add_linear(ValueId x, ValueId weight, ValueId bias, std::string name = "");
  // function: add, sub, mul, div, pow, min, max, mod (the divisor's sign), fmod (the dividend's), equal, greater, greater_or_equal, less,
  // less_or_equal, and, or, xor, bitwise_and, bitwise_or, bitwise_xor; NumPy broadcasting.
  ValueId add_elementwise(std::string function, ValueId a, ValueId b, std::string name = "");
  // function: identity, relu, silu, tanh, sigmoid, softplus, softsign, mish, hard_swish, erf, exp, log, sqrt, reciprocal, sin, cos, tan,
  // asin, acos, atan, sinh, cosh, asinh, acosh, atanh, neg, abs, sign, floor, ceil, round (half to even), not, bitwise_not, is_nan, is_inf;
  // and, with their parameters at ONNX's defaults, leaky_relu, elu, celu, selu, thresholded_relu, hard_sigmoid.
  ValueId add_unary(std::string function, ValueId x, std::string name = "");
  // approximate: "none" (erf, exact) or "tanh".
  ValueId add_gelu(ValueId x, std::string approximate = "none", std::string name = "");
  // Over the last axis, in float32: (x - mean) / sqrt(variance + epsilon) * gamma + beta.
  ValueId add_layer_norm(ValueId x, ValueId gamma, ValueId beta, double epsilon, std::string name = "");
  // Multi-head attention: softmax(scale * q k^T + relative_bias + mask) v, heads side by side in the last axis.
  // q, k, v [batch, sequence, H*D]; mask [batch, sequence] (0: not attended) or kNone;
  // relative_bias [H, 2P-1], entry P-1+(key column - query column), or kNone. -> [batch, sequence, H*D]
  // What else is added to scores is the op's input `bias` (docs/design/ops.md).
  ValueId add_attention(ValueId q, ValueId k, ValueId v, ValueId mask, ValueId relative_bias, int64_t heads, double scale,
                        std::string name = "");
  // One row a sequence. mode: mean, cls, max, mean_sqrt_length; x [batch, sequence, E]; mask [batch, sequence] or kNone. -> [batch, E]
  ValueId add_pool(ValueId x, ValueId mask, std::string mode, std::string name = "");
  // x / max(||x||_2, epsilon) over the last axis.
  ValueId add_normalize(ValueId x, double epsilon, std::string name = "");
  // a [..., M, K] times b [..., K, N], leading axes broadcast as NumPy's matmul. -> [..., M, N]
  ValueId add_matmul(ValueId a, ValueId b, std::string name = "");
  ValueId add_softmax(ValueId x, int64_t axis, std::string name = "");  // along one axis; a negative one counts from the end
  // function: mean, sum, max, min, prod, l1, l2, sum_square, log_sum, log_sum_exp; no axes: over all of them.
  ValueId add_reduce(std::string function, ValueId x, std::span<const int64_t> axes, bool keep_dims, std::string name = "");
  // 0 keeps an extent, -1 (once) takes what is left.
  ValueId add_reshape(ValueId x, std::span<const int64_t> shape, std::string name = "");
  ValueId add_transpose(ValueId x, std::vector<int64_t> permutation, std::string name = "");  // axis i is x's permutation[i]
  ValueId add_gather(ValueId x, ValueId indices, int64_t axis, std::string name = "");        // the axis becomes indices' shape
  // x[start:end] along one axis; negative places count from the end.
  ValueId add_slice(ValueId x, int64_t axis, int64_t start, int64_t end, std::string name = "");
  ValueId add_concat(std::vector<ValueId> parts, int64_t axis, std::string name = "");  // of one dtype and rank
  ValueId add_cast(ValueId x, DType to, std::string name = "");  // to f16, bf16 or f64: f32, as all floating results
  ValueId add_where(ValueId condition, ValueId a, ValueId b, std::string name = "");  // condition of bool; all broadcast
  // A constant i64 vector, for ops that take shapes and axes as inputs.
  ValueId add_integers(std::span<const int64_t> numbers);
  // Any op by name, plugins included.
  std::vector<ValueId> add_node(std::string op, std::vector<ValueId> inputs, Attributes attributes, std::string name = "");

  // --- Reading ---
  const Value& value(ValueId id) const { return values_.at(static_cast<size_t>(id)); }
  const Node& node(NodeId id) const { return nodes_.at(static_cast<size_t>(id)); }
  std::span<const ValueId> inputs() const { return inputs_; }
  ValueId input_of(InputRole role) const;  // kNone: there is none
  struct Output {
    std::string name;
    ValueId value;
  };
  std::span<const Output> outputs() const { return outputs_; }
  // nullopt: none was stated; position ids then count from 0.
  const std::optional<PositionRule>& position_rule() const { return position_rule_; }
  std::vector<NodeId> order() const;  // live nodes, producers before consumers; throws on a cycle
  std::vector<NodeId> consumers(ValueId id) const;
  size_t value_count() const { return values_.size(); }
  // Throws Error(invalid_argument) where an op's rule, a dtype, an edge or a name is broken.
  void verify() const;
  std::string to_string() const;

  // --- Rewriting (passes) ---
  // Rewriting may leave nodes that nothing reads; `remove_dead_nodes` takes them out.
  Node& mutable_node(NodeId id) { return nodes_.at(static_cast<size_t>(id)); }
  Value& mutable_value(ValueId id) { return values_.at(static_cast<size_t>(id)); }
  void replace_uses(ValueId old_value, ValueId new_value);    // network outputs included
  void replace_output(ValueId old_value, ValueId new_value);  // network outputs only
  void erase_node(NodeId id);
  size_t remove_dead_nodes();                             // how many went
  void keep_outputs(std::span<const std::string> names);  // throws Error(not_found) naming those there are
  void remove_input(ValueId id);
  // Runs every shape rule again, after inputs have been given new shapes.
  void infer_shapes();

 private:
  std::string unique_name(std::string wanted);
  std::vector<const Value*> input_values(const Node& node) const;
  void infer_node(NodeId id);

  std::vector<Value> values_;
  std::vector<Node> nodes_;  // an erased node has an empty op
  std::vector<ValueId> inputs_;
  std::vector<Output> outputs_;
  std::optional<PositionRule> position_rule_;
  std::map<std::string, int, std::less<>> names_;
};

}  // namespace bertie
