#include "models/onnx_graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace bertie::models {

onnx::Attribute attribute(std::string name, int64_t value) { return {std::move(name), "", value, "INT"}; }
onnx::Attribute attribute(std::string name, double value) { return {std::move(name), "", value, "FLOAT"}; }
onnx::Attribute attribute(std::string name, std::string value) { return {std::move(name), "", std::move(value), "STRING"}; }
onnx::Attribute attribute(std::string name, std::vector<int64_t> value) {
  return {std::move(name), "", std::move(value), "INTS"};
}
onnx::Attribute attribute(std::string name, Tensor value) { return {std::move(name), "", std::move(value), "TENSOR"}; }

std::string OnnxGraph::unique(std::set<std::string, std::less<>>& taken, const std::string& wanted) {
  std::string name = wanted;
  for (int suffix = 2; !taken.insert(name).second; ++suffix) name = fmt::format("{}.{}", wanted, suffix);
  return name;
}

OnnxName OnnxGraph::unique_value(const std::string& wanted) { return unique(values_, wanted); }

OnnxName OnnxGraph::add(std::string op, std::vector<OnnxName> inputs, std::vector<onnx::Attribute> attributes) {
  return add_many(std::move(op), std::move(inputs), std::move(attributes), 1)[0];
}

std::vector<OnnxName> OnnxGraph::add_many(std::string op, std::vector<OnnxName> inputs, std::vector<onnx::Attribute> attributes,
                                          size_t outputs) {
  while (!inputs.empty() && inputs.back().empty()) inputs.pop_back();
  onnx::Node node;
  node.name = unique(node_names_, scope_.empty() ? op : scope_ + "/" + op);
  for (size_t i = 0; i < outputs; ++i) {
    node.outputs.push_back(unique_value(i == 0 ? node.name : fmt::format("{}:{}", node.name, i)));
  }
  node.op = std::move(op);
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

OnnxName OnnxGraph::constant(const std::string& label, Tensor tensor) {
  const auto found = constants_.find(label);
  if (found != constants_.end()) return found->second;
  return constants_[label] = initializer(label, std::move(tensor));
}

OnnxName OnnxGraph::integers(const std::vector<int64_t>& numbers) {
  return constant(fmt::format("i64[{}]", fmt::join(numbers, ",")),
                  Tensor::from_int64s({static_cast<int64_t>(numbers.size())}, numbers));
}

OnnxName OnnxGraph::integer(int64_t number) {
  return constant(fmt::format("i64({})", number), Tensor::from_int64s({}, {&number, 1}));
}

OnnxName OnnxGraph::number(float number) {
  return constant(fmt::format("f32({})", number), Tensor::from_floats({}, {&number, 1}));
}

OnnxName OnnxGraph::initializer(const std::string& wanted, Tensor tensor) {
  OnnxName name = unique_value(wanted);
  initializers_.emplace(name, std::move(tensor));
  return name;
}

const Tensor* OnnxGraph::initializer_of(const OnnxName& name) const {
  const auto found = initializers_.find(name);
  return found == initializers_.end() ? nullptr : &found->second;
}

OnnxName OnnxGraph::reduce(const std::string& op, const OnnxName& x, const std::vector<int64_t>& axes, bool keep_dims) {
  std::vector<onnx::Attribute> attributes = {attribute("keepdims", int64_t{keep_dims})};
  if (axes.empty()) return add(op, {x}, std::move(attributes));
  if (opset_ >= (op == "ReduceSum" ? 13 : 18)) return add(op, {x, integers(axes)}, std::move(attributes));
  attributes.push_back(attribute("axes", axes));
  return add(op, {x}, std::move(attributes));
}

OnnxName OnnxGraph::squeeze(const OnnxName& x, const std::vector<int64_t>& axes) {
  if (opset_ >= 13) return add("Squeeze", {x, integers(axes)});
  return add("Squeeze", {x}, {attribute("axes", axes)});
}

OnnxName OnnxGraph::unsqueeze(const OnnxName& x, const std::vector<int64_t>& axes) {
  if (opset_ >= 13) return add("Unsqueeze", {x, integers(axes)});
  return add("Unsqueeze", {x}, {attribute("axes", axes)});
}

OnnxName OnnxGraph::softmax(const std::string& op, const OnnxName& x, int64_t axis, int64_t rank) {
  if (axis < 0) axis += rank;
  const auto along = [&](const OnnxName& input, int64_t at) { return add(op, {input}, {attribute("axis", at)}); };
  if (opset_ >= 13 || axis == rank - 1) return along(x, opset_ >= 13 && axis == rank - 1 ? -1 : axis);
  // Before 13 it runs over all axes from `axis` on: the wanted one is brought to the end.
  std::vector<int64_t> swapped(static_cast<size_t>(rank));
  for (size_t i = 0; i < swapped.size(); ++i) swapped[i] = static_cast<int64_t>(i);
  std::swap(swapped[static_cast<size_t>(axis)], swapped.back());
  return transpose(along(transpose(x, swapped), rank - 1), swapped);
}

OnnxName OnnxGraph::greater_or_equal(const OnnxName& a, const OnnxName& b) {
  if (opset_ >= 12) return add("GreaterOrEqual", {a, b});
  return add("Or", {add("Greater", {a, b}), add("Equal", {a, b})});  // not the negation of Less: there are NaNs
}

OnnxName OnnxGraph::shape(const OnnxName& x, int64_t start, int64_t end) {
  if (opset_ >= 15) return add("Shape", {x}, {attribute("start", start), attribute("end", end)});
  return add("Slice", {add("Shape", {x}), integers({start}), integers({end})});
}

OnnxName OnnxGraph::cast(const OnnxName& x, DType to) { return add("Cast", {x}, {attribute("to", onnx::number_of_dtype(to))}); }

OnnxName OnnxGraph::transpose(const OnnxName& x, std::vector<int64_t> permutation) {
  return add("Transpose", {x}, {attribute("perm", std::move(permutation))});
}

OnnxName OnnxGraph::reshape(const OnnxName& x, const std::vector<int64_t>& shape) { return add("Reshape", {x, integers(shape)}); }

onnx::Node* OnnxGraph::rename(const OnnxName& value, const OnnxName& name, size_t first_node) {
  const auto begin = nodes_.begin() + static_cast<std::ptrdiff_t>(first_node);
  const auto maker = std::find_if(begin, nodes_.end(), [&](const onnx::Node& node) {
    return std::find(node.outputs.begin(), node.outputs.end(), value) != node.outputs.end();
  });
  if (maker == nodes_.end()) return nullptr;
  for (auto node = begin; node != nodes_.end(); ++node) {
    std::replace(node->inputs.begin(), node->inputs.end(), value, name);
    std::replace(node->outputs.begin(), node->outputs.end(), value, name);
  }
  return &*maker;
}

onnx::Graph OnnxGraph::take() {
  onnx::Graph graph;
  graph.nodes = std::move(nodes_);
  graph.initializers = std::move(initializers_);
  return graph;
}

}  // namespace bertie::models
