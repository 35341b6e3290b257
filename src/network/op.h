// One descriptor an op: what it takes, and the rule that checks it and gives its result's shape.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "bertie/network.h"

namespace bertie {

inline bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f64; }
inline bool is_index(DType dtype) { return dtype == DType::i32 || dtype == DType::i64; }

struct OpDescriptor;

// One node under inspection. Every failure is one line that names the op, the node, its inputs and what was expected.
class OpContext {
 public:
  OpContext(const Network& network, const Node& node, const OpDescriptor& op) : network_(network), node_(node), op_(op) {}

  const Node& node() const { return node_; }
  bool has(size_t input) const { return node_.input(input) != kNone; }
  const Value& value(size_t input) const { return network_.value(node_.inputs[input]); }
  const SymbolicShape& shape(size_t input) const { return value(input).shape; }

  void require(bool condition, std::string_view expected) const {
    if (!condition) reject(expected);
  }
  void require_float(size_t input) const;
  void require_index(size_t input) const;
  void require_rank(size_t input, size_t rank) const;
  void require_vector(size_t input, const Dim& extent) const;  // rank 1 of this extent, floating
  void require_one_of(std::string_view attribute, std::string_view value, std::initializer_list<std::string_view> allowed) const;
  const Dim& last_dim(size_t input) const;  // fails on rank 0

  [[noreturn]] void reject(std::string_view expected) const;

  void output(DType dtype, SymbolicShape shape) { outputs_.emplace_back(dtype, std::move(shape)); }
  std::vector<std::pair<DType, SymbolicShape>> take_outputs() { return std::move(outputs_); }

 private:
  const Network& network_;
  const Node& node_;
  const OpDescriptor& op_;
  std::vector<std::pair<DType, SymbolicShape>> outputs_;
};

struct OpDescriptor {
  std::string_view name;
  size_t required_inputs;
  std::vector<std::string_view> inputs;      // names, optional ones last
  std::vector<std::string_view> attributes;  // names it knows
  void (*infer)(OpContext&);
};

// Throws Error(unsupported) naming an op that nobody registered.
const OpDescriptor& find_op(std::string_view name);
std::vector<std::string_view> op_names();

// One definition each, in the op's file.
const OpDescriptor& attention_op();
const OpDescriptor& elementwise_op();
const OpDescriptor& embedding_op();
const OpDescriptor& embedding_layer_norm_op();
const OpDescriptor& gather_rows_op();
const OpDescriptor& gelu_op();
const OpDescriptor& layer_norm_op();
const OpDescriptor& linear_op();
const OpDescriptor& normalize_op();
const OpDescriptor& pool_op();
const OpDescriptor& skip_layer_norm_op();
const OpDescriptor& unary_op();

}  // namespace bertie
