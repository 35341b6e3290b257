// Brings spellings together: what changes nothing goes, layouts take their shortest form, row-wise work on a collapsed
// [batch*sequence, E] moves to [batch, sequence, E], a gather from a table is an embedding, and extents are read from the network's
// inputs, so that no shape depends on a computed value. Values keep their bits, but for the sign of a zero (x + 0).
#include <algorithm>
#include <functional>
#include <map>

#include "network/dim.h"
#include "network/op.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/view.h"

namespace bertie {
namespace {

void replace(Network& network, NodeId id, ValueId by) {
  network.replace_uses(network.node(id).outputs[0], by);
  network.erase_node(id);
}

const SymbolicShape& shape_of(const Network& network, ValueId value) { return network.value(value).shape; }

// x + 0, x - 0, x * 1, x / 1, x ^ 1.
bool drop_neutral(Network& network, NodeId id) {
  const Node& node = network.node(id);
  const auto operand = scalar_operand(network, node);
  if (!operand) return false;
  const std::string function = node.text("function");
  const bool commutes = function == "add" || function == "mul";
  const bool additive = function == "add" || function == "sub";
  const bool multiplicative = function == "mul" || function == "div" || function == "pow";
  if (operand->constant_first && !commutes) return false;
  if (!(additive && operand->constant == 0) && !(multiplicative && operand->constant == 1)) return false;
  const Value& x = network.value(operand->x);
  const Value& result = network.value(node.outputs[0]);
  if (!(x.shape == result.shape) || x.dtype != result.dtype) return false;
  replace(network, id, operand->x);
  return true;
}

// Identity, a cast to the dtype it has already (floats of any width are f32 here), a concatenation of one.
bool drop_copy(Network& network, NodeId id) {
  const Node& node = network.node(id);
  const bool copy =
      is_function(&node, "unary", "identity") || node.op == "cast" || (node.op == "concat" && node.inputs.size() == 1);
  if (!copy || is_constant(network, node.input(0))) return false;
  if (network.value(node.input(0)).dtype != network.value(node.outputs[0]).dtype) return false;
  replace(network, id, node.input(0));
  return true;
}

// An expansion whose reader broadcasts anyway.
bool drop_expand(Network& network, NodeId id) {
  const Node& node = network.node(id);
  if (node.op != "elementwise" && node.op != "where") return false;
  const SymbolicShape& result = shape_of(network, node.outputs[0]);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Node* expand = producer(network, node.input(i));
    if (!expand || expand->op != "expand") continue;
    std::optional<SymbolicShape> shape = shape_of(network, expand->input(0));
    for (size_t k = 0; shape && k < node.inputs.size(); ++k) {
      if (k != i) shape = broadcast(*shape, shape_of(network, node.input(k)));
    }
    // Without the expansion the others must give the whole shape themselves.
    if (!shape || !(*shape == result)) continue;
    network.mutable_node(id).inputs[i] = expand->input(0);
    return true;
  }
  return false;
}

bool gather_to_embedding(Network& network, NodeId id) {
  const Node node = network.node(id);
  if (node.op != "gather" || node.integer("axis") != 0 || !is_constant(network, node.input(0))) return false;
  const Value& table = network.value(node.input(0));
  const Value& ids = network.value(node.input(1));
  if (table.shape.size() != 2 || !is_float(table.dtype) || table.dtype == DType::f64 || ids.constant || ids.shape.empty())
    return false;
  network.erase_node(id);
  network.replace_uses(node.outputs[0], network.add_embedding(node.input(0), node.input(1), node.name));
  return true;
}

// A cast of ids to the other index type, which readers of ids take too; a cast of an integer or bool mask, of which only 0 counts.
bool drop_index_cast(Network& network, NodeId id) {
  const Node node = network.node(id);
  std::vector<size_t> ids, masks;
  if (node.op == "embedding") ids = {1};
  if (node.op == "embedding_layer_norm") ids = {0, 1, 2};
  if (node.op == "attention") masks = {3};
  if (node.op == "pool") masks = {1};
  bool changed = false;
  const auto drop = [&](size_t input, bool boolean_too) {
    const Node* cast = producer(network, node.input(input));
    if (!cast || cast->op != "cast") return;
    const DType from = network.value(cast->input(0)).dtype;
    if (!is_index(from) && !(boolean_too && from == DType::boolean)) return;
    network.mutable_node(id).inputs[input] = cast->input(0);
    changed = true;
  };
  for (size_t input : ids) drop(input, false);
  for (size_t input : masks) drop(input, true);
  return changed;
}

// shape(x) where every extent is a number or an extent of a network input.
bool shape_of_inputs(Network& network, NodeId id) {
  const Node node = network.node(id);
  if (node.op != "shape" || is_network_input(network, node.input(0))) return false;
  const auto extents = known_elements(network.value(node.outputs[0]));
  if (!extents || extents->empty()) return false;
  std::vector<ValueId> parts;
  for (const Dim& extent : *extents) {
    if (extent.is_fixed()) {
      parts.push_back(network.add_integers(std::vector<int64_t>{extent.size}));
      continue;
    }
    ValueId part = kNone;
    for (ValueId input : network.inputs()) {
      const SymbolicShape shape = shape_of(network, input);
      const auto found = std::find(shape.begin(), shape.end(), extent);
      if (found == shape.end()) continue;
      const int64_t axis = found - shape.begin();
      part = network.add_node("shape", {input}, {{"start", axis}, {"end", axis + 1}}, node.name)[0];
      break;
    }
    if (part == kNone) return false;
    parts.push_back(part);
  }
  const ValueId all = parts.size() == 1 ? parts[0] : network.add_concat(parts, 0, node.name);
  replace(network, id, all);
  return true;
}

// The [B, S, E] behind a value that is it collapsed to [B*S, E]; kNone where it is not.
ValueId collapsed(const Network& network, ValueId value) {
  if (shape_of(network, value).size() != 2) return kNone;
  const View view = view_of(network, value, Scaling::stop);
  if (view.nodes.empty() || view.offsets.size() != 3 || !is_reshape(network, view)) return kNone;
  return is_whole_axis(network, view, view.axes[1], 2) ? view.base : kNone;
}

// Whether a row's result depends on that row alone, the row being the last axis.
bool is_row_wise(const Network& network, const Node& node) {
  const auto on_last_axis = [&](int64_t axis) { return axis == -1 || axis == 1; };
  if (node.op == "softmax") return on_last_axis(node.integer("axis", -1));
  if (node.op == "reduce") {
    const auto axes = node.input(1) == kNone ? std::nullopt : known_elements(network.value(node.input(1)));
    return axes && axes->size() == 1 && axes->front().is_fixed() && on_last_axis(axes->front().size) &&
           node.integer("keep_dims", 1) != 0;
  }
  if (node.op == "matmul") return is_constant(network, node.input(1)) && shape_of(network, node.input(1)).size() == 2;
  return node.op == "unary" || node.op == "gelu" || node.op == "layer_norm" || node.op == "linear" || node.op == "elementwise" ||
         node.op == "fake_quantize";
}

bool sink_collapse(Network& network, NodeId id) {
  const Node node = network.node(id);
  if (!is_row_wise(network, node)) return false;
  const SymbolicShape result = shape_of(network, node.outputs[0]);
  if (result.size() != 2 || !result[1].is_fixed()) return false;
  std::vector<ValueId> inputs = node.inputs;
  std::optional<SymbolicShape> leading;
  for (size_t i = 0; i < inputs.size(); ++i) {
    ValueId& input = inputs[i];
    if (input == kNone) continue;
    if (is_constant(network, input)) {
      const SymbolicShape& shape = shape_of(network, input);
      if (node.op == "elementwise" && shape.size() == 2 && !(shape[0] == Dim(1))) return false;
      continue;
    }
    input = collapsed(network, input);
    if (input == kNone) return false;
    const SymbolicShape& shape = shape_of(network, input);
    const SymbolicShape own(shape.begin(), shape.begin() + 2);
    if (leading && !(*leading == own)) return false;
    leading = own;
  }
  if (!leading) return false;
  Attributes attributes = node.attributes;
  if (node.op == "softmax") attributes["axis"] = int64_t{-1};
  if (node.op == "reduce") inputs[1] = network.add_integers(std::vector<int64_t>{-1});
  network.erase_node(id);
  const ValueId rows = network.add_node(node.op, inputs, attributes, node.name)[0];
  const ValueId back = network.add_reshape(rows, std::vector<int64_t>{-1, result[1].size}, node.name + ".rows");
  network.replace_uses(node.outputs[0], back);
  return true;
}

struct Rule {
  std::string_view what;
  bool (*apply)(Network&, NodeId);
};
constexpr Rule kRules[] = {
    {"changes nothing, dropped", drop_neutral},
    {"a copy, dropped", drop_copy},
    {"reads what was expanded for it", drop_expand},
    {"gather from a table -> embedding", gather_to_embedding},
    {"ids and masks read before their cast", drop_index_cast},
    {"extents read from the network's inputs", shape_of_inputs},
    {"from rows of [batch*sequence] to [batch, sequence]", sink_collapse},
};

}  // namespace

std::map<std::string_view, std::vector<std::string>> to_canonical_form(Network& network) {
  constexpr int kRounds = 64;  // a bound, not an expectation: each rule brings the network nearer to its form
  std::map<std::string_view, std::vector<std::string>> done;
  for (int round = 0; round < kRounds; ++round) {
    bool changed = false;
    for (NodeId id : network.order()) {
      for (const Rule& rule : kRules) {
        if (network.node(id).op.empty()) break;
        const std::string name = network.node(id).name;
        if (!rule.apply(network, id)) continue;
        done[rule.what].push_back(name);
        changed = true;
      }
    }
    auto needless = simplify_views(network);
    if (!needless.empty()) {
      auto& views = done["a layout that comes to less"];
      views.insert(views.end(), needless.begin(), needless.end());
    }
    if (!changed && needless.empty()) break;
    network.remove_dead_nodes();
    network.infer_shapes();
  }
  return done;
}

void canonicalize(Network& network, const PassOptions&, PassLog& log) {
  for (const auto& [what, names] : to_canonical_form(network)) log.matched_each(what, names);
}

}  // namespace bertie
