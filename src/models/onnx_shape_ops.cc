// ONNX ops that move elements or speak of shapes.
#include <algorithm>

#include "models/onnx_node.h"
#include "network/dim.h"
#include "network/op.h"

namespace bertie::models {
namespace {

// Axes are an attribute up to some opset version and an input from there on.
ValueId axes_of(OnnxNode& node) {
  if (const auto axes = node.integers("axes")) return node.network().add_integers(*axes);
  return node.known_input(1);
}

void reshape(OnnxNode& node, std::string_view) {
  Attributes attributes;
  if (node.integer("allowzero", 0) != 0) attributes["allow_zero"] = int64_t{1};
  node.output(0, node.make("reshape", {node.input(0), node.input_of_known_length(1)}, std::move(attributes)));
}

void transpose(OnnxNode& node, std::string_view) {
  Attributes attributes;
  if (auto permutation = node.integers("perm")) attributes["permutation"] = std::move(*permutation);
  node.output(0, node.make("transpose", {node.input(0)}, std::move(attributes)));
}

void squeeze(OnnxNode& node, std::string_view) { node.output(0, node.make("squeeze", {node.input(0), axes_of(node)})); }

void unsqueeze(OnnxNode& node, std::string_view) {
  const ValueId axes = axes_of(node);
  if (axes == kNone) node.contradict("axes are missing");
  node.output(0, node.make("unsqueeze", {node.input(0), axes}));
}

void flatten(OnnxNode& node, std::string_view) {
  const ValueId x = node.input(0);
  int64_t axis = node.integer("axis", 1);
  const int64_t rank = node.rank(x);
  if (axis != rank) axis = node.axis(axis, rank);
  node.output(0, flatten_to_matrix(node, x, axis));
}

void concat(OnnxNode& node, std::string_view) {
  std::vector<ValueId> parts;
  for (size_t i = 0; i < node.input_count(); ++i) parts.push_back(node.input(i));
  node.output(0, node.make("concat", std::move(parts), {{"axis", node.integer("axis", 0)}}));
}

void split(OnnxNode& node, std::string_view) {
  const ValueId x = node.input(0);
  ValueId sizes = kNone;
  if (const auto stated = node.integers("split")) {
    sizes = node.network().add_integers(*stated);
  } else {
    sizes = node.known_input(1);
  }
  Attributes attributes{{"axis", node.integer("axis", 0)}};
  const auto outputs = static_cast<int64_t>(node.output_count());
  const int64_t parts = node.integer("num_outputs", outputs);
  if (parts != outputs) node.contradict("num_outputs = {} with {} outputs", parts, outputs);
  if (sizes == kNone) attributes["parts"] = parts;
  const auto results = node.make_all("split", {x, sizes}, std::move(attributes));
  if (static_cast<int64_t>(results.size()) != outputs) node.contradict("{} sizes with {} outputs", results.size(), outputs);
  for (size_t i = 0; i < results.size(); ++i) node.output(i, results[i]);
}

void slice(OnnxNode& node, std::string_view) {
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < 5; ++i)
    inputs.push_back(i == 0 ? node.input(i) : i < 3 ? node.input_of_known_length(i) : node.known_input(i));
  node.output(0, node.make("slice", std::move(inputs)));
}

void gather(OnnxNode& node, std::string_view op) {
  node.output(0, node.make(std::string(op), {node.input(0), node.input(1)}, {{"axis", node.integer("axis", 0)}}));
}

void to_shape(OnnxNode& node, std::string_view op) { node.output(0, node.make(std::string(op), {node.input(0), node.input(1)})); }

void gather_nd(OnnxNode& node, std::string_view) {
  const ValueId indices = node.input(1);
  if (node.rank(indices) < 1 || !node.shape(indices).back().is_fixed()) node.refuse("indices of a width that only the run knows");
  node.output(0, node.make("gather_nd", {node.input(0), indices}, {{"batch_dims", node.integer("batch_dims", 0)}}));
}

void trilu(OnnxNode& node, std::string_view) {
  node.output(0, node.make("trilu", {node.input(0), node.optional_input(1)}, {{"upper", node.integer("upper", 1)}}));
}

void one_hot(OnnxNode& node, std::string_view) {
  node.output(0, node.make("one_hot", {node.input(0), node.input(1), node.input(2)}, {{"axis", node.integer("axis", -1)}}));
}

void arg_reduce(OnnxNode& node, std::string_view function) {
  node.output(0, node.make("arg_reduce", {node.input(0)},
                           {{"function", std::string(function)},
                            {"axis", node.integer("axis", 0)},
                            {"keep_dims", node.integer("keepdims", 1)},
                            {"select_last", node.integer("select_last_index", 0)}}));
}

void top_k(OnnxNode& node, std::string_view) {
  node.ignore({"sorted"});  // it always is
  const auto results = node.make_all("top_k", {node.input(0), node.input(1)},
                                     {{"axis", node.integer("axis", -1)}, {"largest", node.integer("largest", 1)}});
  for (size_t i = 0; i < results.size(); ++i) node.output(i, results[i]);
}

void pad(OnnxNode& node, std::string_view) {
  node.output(0, node.make("pad", {node.input(0), node.input(1), node.optional_input(2), node.known_input(3)},
                           {{"mode", node.text("mode", "constant")}}));
}

void einsum(OnnxNode& node, std::string_view) {
  std::vector<ValueId> operands;
  for (size_t i = 0; i < node.input_count(); ++i) operands.push_back(node.input(i));
  node.output(0, node.make("einsum", std::move(operands), {{"equation", node.text("equation", "")}}));
}

void scatter(OnnxNode& node, std::string_view op) {
  Attributes attributes{{"reduction", node.text("reduction", "none")}};
  if (op == "scatter_elements") attributes["axis"] = node.integer("axis", 0);
  node.output(0, node.make(std::string(op), {node.input(0), node.input(1), node.input(2)}, std::move(attributes)));
}

void non_zero(OnnxNode& node, std::string_view) { node.output(0, node.make("non_zero", {node.input(0)})); }

void shape(OnnxNode& node, std::string_view) {
  Attributes attributes;
  for (const char* bound : {"start", "end"}) {
    if (node.has_attribute(bound)) attributes[bound] = node.integer(bound, 0);
  }
  node.output(0, node.make("shape", {node.input(0)}, std::move(attributes)));
}

void size(OnnxNode& node, std::string_view) { node.output(0, node.make("size", {node.input(0)})); }

void range(OnnxNode& node, std::string_view) {
  node.ignore({"stash_type"});
  if (!is_index(node.dtype(node.input(0)))) node.refuse("of {}", dtype_name(node.dtype(node.input(0))));
  node.output(0, node.make("range", {node.input(0), node.input(1), node.input(2)}));
}

void constant_of_shape(OnnxNode& node, std::string_view) {
  auto value = node.tensor("value");
  if (!value) {
    constexpr float kZero = 0;
    value = Tensor::from_floats({1}, std::span(&kZero, 1));
  }
  if (value->shape.elements() != 1) node.contradict("attribute 'value' of {} elements", value->shape.elements());
  const ValueId filler = node.network().add_constant(node.name() + ".value", std::move(*value));
  node.output(0, node.make("constant_of_shape", {node.input_of_known_length(0), filler}));
}

void constant(OnnxNode& node, std::string_view) {
  std::optional<Tensor> value;
  if (node.has_attribute("value")) {
    value = node.tensor("value");
  } else if (node.has_attribute("value_float")) {
    const auto number = static_cast<float>(node.real("value_float", 0));
    value = Tensor::from_floats({}, std::span(&number, 1));
  } else if (node.has_attribute("value_floats")) {
    const std::vector<double> stated = *node.reals("value_floats");
    const std::vector<float> numbers(stated.begin(), stated.end());
    value = Tensor::from_floats({static_cast<int64_t>(numbers.size())}, numbers);
  } else if (node.has_attribute("value_int")) {
    const int64_t number = node.integer("value_int", 0);
    value = Tensor::from_int64s({}, std::span(&number, 1));
  } else if (node.has_attribute("value_ints")) {
    const std::vector<int64_t> numbers = *node.integers("value_ints");
    value = Tensor::from_int64s({static_cast<int64_t>(numbers.size())}, numbers);
  }
  if (value) node.output(0, node.network().add_constant(node.name(), std::move(*value)));
}

}  // namespace

ValueId flatten_to_matrix(OnnxNode& node, ValueId x, int64_t axis) {
  const SymbolicShape extents = node.shape(x);
  const int64_t rows = elements_of(SymbolicShape(extents.begin(), extents.begin() + axis)).size;  // -1: a symbol
  const int64_t columns = elements_of(SymbolicShape(extents.begin() + axis, extents.end())).size;
  if (rows >= 0 || columns >= 0) {
    return node.make("reshape", {x, node.integers_of({rows, columns})}, {{"allow_zero", int64_t{1}}});
  }
  const ValueId sides[] = {node.make("shape", {x}, {{"end", axis}}), node.make("shape", {x}, {{"start", axis}})};
  std::vector<ValueId> parts;
  for (ValueId side : sides) {
    parts.push_back(
        node.make("reduce", {side, node.integers_of({0})}, {{"function", std::string("prod")}, {"keep_dims", int64_t{1}}}));
  }
  return node.make("reshape", {x, node.make("concat", std::move(parts), {{"axis", int64_t{0}}})});
}

std::span<const OnnxOp> onnx_shape_ops() {
  static constexpr OnnxOp kOps[] = {
      {"Constant", 1, constant},
      {"ConstantOfShape", 9, constant_of_shape},
      {"Shape", 1, shape},
      {"Size", 1, size},
      {"Range", 11, range},
      {"Reshape", 5, reshape},
      {"Flatten", 1, flatten},
      {"Transpose", 1, transpose},
      {"Squeeze", 1, squeeze},
      {"Unsqueeze", 1, unsqueeze},
      {"Expand", 8, to_shape, "expand"},
      {"Tile", 6, to_shape, "tile"},
      {"Concat", 4, concat},
      {"Split", 2, split},
      {"Slice", 10, slice},
      {"Gather", 1, gather, "gather"},
      {"GatherElements", 11, gather, "gather_elements"},
      {"GatherND", 11, gather_nd},
      {"ScatterElements", 11, scatter, "scatter_elements"},
      {"ScatterND", 11, scatter, "scatter_nd"},
      {"Trilu", 14, trilu},
      {"OneHot", 11, one_hot},
      {"ArgMax", 1, arg_reduce, "max"},
      {"ArgMin", 1, arg_reduce, "min"},
      {"TopK", 11, top_k},
      {"Pad", 11, pad},
      {"Einsum", 12, einsum},
      {"NonZero", 9, non_zero},
  };
  return kOps;
}

}  // namespace bertie::models
