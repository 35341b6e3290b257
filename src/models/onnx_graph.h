// Lays down ONNX nodes in the forms of one opset.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "formats/onnx_file.h"

namespace bertie::models {

// The name of an ONNX value.
using OnnxName = std::string;

class OnnxGraph {
 public:
  explicit OnnxGraph(int64_t opset) : opset_(opset) {}
  int64_t opset() const { return opset_; }

  // Nodes that follow are named SCOPE/Op.
  void set_scope(std::string scope) { scope_ = std::move(scope); }

  // A node of one output. An empty input is one left out.
  OnnxName add(std::string op, std::vector<OnnxName> inputs, std::vector<onnx::Attribute> attributes = {});
  std::vector<OnnxName> add_many(std::string op, std::vector<OnnxName> inputs, std::vector<onnx::Attribute> attributes,
                                 size_t outputs);

  // Constants; equal ones are one.
  OnnxName integers(const std::vector<int64_t>& numbers);  // a vector
  OnnxName integer(int64_t number);                        // a scalar
  OnnxName number(float number);                           // a scalar
  // Named so unless the name is taken.
  OnnxName initializer(const std::string& wanted, Tensor tensor);
  // The initializer's bytes, or nullptr where `name` is none.
  const Tensor* initializer_of(const OnnxName& name) const;

  // Ops whose form changed between opsets.
  OnnxName reduce(const std::string& op, const OnnxName& x, const std::vector<int64_t>& axes, bool keep_dims);
  OnnxName squeeze(const OnnxName& x, const std::vector<int64_t>& axes);
  OnnxName unsqueeze(const OnnxName& x, const std::vector<int64_t>& axes);
  OnnxName softmax(const std::string& op, const OnnxName& x, int64_t axis, int64_t rank);
  OnnxName greater_or_equal(const OnnxName& a, const OnnxName& b);
  // Extents [start, end) of x.
  OnnxName shape(const OnnxName& x, int64_t start, int64_t end);

  OnnxName cast(const OnnxName& x, DType to);
  OnnxName transpose(const OnnxName& x, std::vector<int64_t> permutation);
  OnnxName reshape(const OnnxName& x, const std::vector<int64_t>& shape);

  // A value's name that nothing else has; `wanted` itself where it is free.
  OnnxName unique_value(const std::string& wanted);
  size_t node_count() const { return nodes_.size(); }
  // The value is called `name`, which unique_value gave, in every node from `first_node` on. Returns the node among them that makes
  // it, nullptr where none does (nothing is renamed then).
  onnx::Node* rename(const OnnxName& value, const OnnxName& name, size_t first_node);

  // Nodes and initializers; the graph is empty then.
  onnx::Graph take();

 private:
  OnnxName constant(const std::string& label, Tensor tensor);
  std::string unique(std::set<std::string, std::less<>>& taken, const std::string& wanted);

  int64_t opset_;
  std::string scope_;
  std::vector<onnx::Node> nodes_;
  std::map<std::string, Tensor, std::less<>> initializers_;
  std::set<std::string, std::less<>> values_;      // names taken
  std::set<std::string, std::less<>> node_names_;  // likewise
  std::map<std::string, OnnxName, std::less<>> constants_;
};

// Attributes, as nodes take them.
onnx::Attribute attribute(std::string name, int64_t value);
onnx::Attribute attribute(std::string name, double value);
onnx::Attribute attribute(std::string name, std::string value);
onnx::Attribute attribute(std::string name, std::vector<int64_t> value);
onnx::Attribute attribute(std::string name, Tensor value);

}  // namespace bertie::models
