// What turns one ONNX node into ops of a Network, and the table of those who do.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "bertie/network.h"
#include "formats/onnx_file.h"

namespace bertie::models {

// A node that is well-formed but cannot be expressed; the importer collects these and names them all in one error.
struct OnnxRefusal {
  std::string reason;  // "attribute 'block_size' = 32"; empty: the op itself
};

// One ONNX node under import. What a builder does not ask for (an attribute, an input, a wanted output it does not set) is refused
// after it has run, so that nothing in a file is silently ignored.
class OnnxNode {
 public:
  // `inputs`: one a node input, kNone where it is left out. `attributes`: the node's, references to a function's resolved.
  // `wanted`: one a node output, whether something reads it.
  OnnxNode(Network& network, std::vector<onnx::Attribute> attributes, std::vector<ValueId> inputs, std::vector<bool> wanted,
           int64_t opset, std::string name);

  Network& network() { return network_; }
  const std::string& name() const { return name_; }
  int64_t opset() const { return opset_; }  // of the node's domain

  // --- Inputs ---
  size_t input_count() const { return inputs_.size(); }
  bool has(size_t index) const { return index < inputs_.size() && inputs_[index] != kNone; }
  ValueId input(size_t index);           // throws Error(invalid_file) where it is left out
  ValueId optional_input(size_t index);  // kNone where it is left out
  void require_float(size_t index);      // refuses other element types
  // As optional_input, with elements that the ops' shape rules know before the run: refused where only the run knows them.
  ValueId known_input(size_t index);
  // As input, an integer vector whose length is known before the run.
  ValueId input_of_known_length(size_t index);
  // An input that must be known when the network is built; nothing where it is left out, refused where only the run knows it.
  std::optional<Tensor> constant_input(size_t index);

  // --- Attributes: throw Error(invalid_file) where the file holds another kind ---
  bool has_attribute(std::string_view name) const;
  int64_t integer(std::string_view name, int64_t fallback);
  double real(std::string_view name, double fallback);
  std::string text(std::string_view name, std::string_view fallback);
  std::optional<std::vector<int64_t>> integers(std::string_view name);
  std::optional<std::vector<double>> reals(std::string_view name);
  std::optional<Tensor> tensor(std::string_view name);
  // Refuses any value but this one.
  void expect(std::string_view name, int64_t value);
  // Attributes that change nothing here.
  void ignore(std::initializer_list<std::string_view> names) { used_attributes_.insert(names.begin(), names.end()); }

  // --- Outputs ---
  size_t output_count() const { return wanted_.size(); }
  bool wants(size_t index) const { return index < wanted_.size() && wanted_[index]; }
  void output(size_t index, ValueId value);
  const std::vector<ValueId>& outputs() const { return outputs_; }

  // --- Making ---
  // One op of the network, named after the node; its first output.
  ValueId make(std::string op, std::vector<ValueId> inputs, Attributes attributes = {});
  std::vector<ValueId> make_all(std::string op, std::vector<ValueId> inputs, Attributes attributes = {});
  ValueId elementwise(std::string function, ValueId a, ValueId b) {
    return make("elementwise", {a, b}, {{"function", std::move(function)}});
  }
  ValueId unary(std::string function, ValueId x) { return make("unary", {x}, {{"function", std::move(function)}}); }
  ValueId scalar(float value);
  ValueId integers_of(std::initializer_list<int64_t> numbers) {
    return network_.add_integers(std::span<const int64_t>(numbers.begin(), numbers.size()));
  }
  ValueId cast(ValueId x, DType to);
  const SymbolicShape& shape(ValueId value) const { return network_.value(value).shape; }
  DType dtype(ValueId value) const { return network_.value(value).dtype; }
  int64_t rank(ValueId value) const { return static_cast<int64_t>(shape(value).size()); }
  // `axis` counted from the front; throws Error(invalid_file) where it is outside.
  int64_t axis(int64_t axis, int64_t rank) const;

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    throw OnnxRefusal{fmt::format(format, std::forward<Args>(args)...)};
  }
  // The file contradicts itself.
  template <typename... Args>
  [[noreturn]] void contradict(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::invalid_file, "{}", fmt::format(format, std::forward<Args>(args)...));
  }
  // The node as a plugin's op, inputs, attributes and outputs as they are.
  void make_plugin(std::string_view op);
  // Refuses what the builder did not ask for.
  void check_all_used() const;

 private:
  template <typename T>
  const T* find(std::string_view name, std::string_view kind);

  Network& network_;
  std::vector<onnx::Attribute> attributes_;
  std::vector<ValueId> inputs_;
  std::vector<bool> wanted_;
  std::vector<ValueId> outputs_;
  int64_t opset_;
  std::string name_;
  std::set<std::string, std::less<>> used_attributes_;
  std::set<size_t> used_inputs_;
};

// A value's elements where they are known before the run: a constant, what a shape rule found, or what follows from these.
std::optional<Tensor> known_tensor(const Network& network, ValueId value);

// x as a matrix: the axes before `axis` are its rows.
ValueId flatten_to_matrix(OnnxNode& node, ValueId x, int64_t axis);

struct OnnxOp {
  std::string_view op;
  int64_t since;  // the first opset version for which this row holds
  void (*build)(OnnxNode&, std::string_view argument);
  std::string_view argument = "";  // what distinguishes ops that are built alike
};

// The rows of one op stand in ascending order of `since`. Each table stands in the file of its name.
std::span<const OnnxOp> onnx_elementwise_ops();
std::span<const OnnxOp> onnx_shape_ops();
std::span<const OnnxOp> onnx_tensor_ops();
std::span<const OnnxOp> onnx_quantize_ops();
std::span<const OnnxOp> onnx_attention_ops();
// com.microsoft's.
std::span<const OnnxOp> microsoft_ops();
std::span<const OnnxOp> microsoft_attention_ops();
std::span<const OnnxOp> microsoft_quantize_ops();

// The row for an op at an opset version: nullptr for an op that no row knows. Throws OnnxRefusal where only newer versions are known.
const OnnxOp* find_onnx_op(std::string_view domain, std::string_view op, int64_t opset);

// The newest version of ONNX's own opset whose definitions were read for the tables, and the oldest.
inline constexpr int64_t kNewestOpset = 28;
inline constexpr int64_t kOldestOpset = 11;

}  // namespace bertie::models
