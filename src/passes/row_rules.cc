#include "passes/row_rules.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "network/op.h"
#include "network/plugin_registry.h"
#include "passes/pass.h"

namespace bertie {
namespace {

RowRule obstacle(std::string reason) { return {std::move(reason), {}}; }

size_t rank(const Network& network, ValueId value) { return network.value(value).shape.size(); }

int64_t from_front(int64_t axis, size_t rank) { return axis < 0 ? axis + static_cast<int64_t>(rank) : axis; }

// The inputs as ops without axes take them: rows row by row, the others as they are.
RowRule by_rows(const Network& network, const Node& node) {
  RowRule rule;
  for (ValueId input : node.inputs)
    rule.uses.push_back(input != kNone && has_rows(network, input) ? RowUse::row : RowUse::as_it_is);
  return rule;
}

// Rows of input 0 alone; every other input must be the same for all rows.
RowRule rows_of_first(const Network& network, const Node& node) {
  RowRule rule = by_rows(network, node);
  if (rule.uses[0] != RowUse::row) return obstacle("its first input has no rows");
  for (size_t i = 1; i < rule.uses.size(); ++i) {
    if (rule.uses[i] == RowUse::row) return obstacle(fmt::format("input {} has rows too", i));
  }
  return rule;
}

// Ops over the last axis.
RowRule over_last_axis(const Network& network, const Node& node) {
  if (rank(network, node.input(0)) < 3) return obstacle("it works along the sequence");
  return by_rows(network, node);
}

// Whether an axis attribute or input lies behind batch and sequence.
std::string along(const Network& network, ValueId x, std::span<const int64_t> axes) {
  for (int64_t axis : axes) {
    const int64_t place = from_front(axis, rank(network, x));
    if (place < 2) return place == 0 ? "it works along the batch" : "it works along the sequence";
  }
  return "";
}

RowRule along_attribute(const Network& network, const Node& node, int64_t fallback) {
  const int64_t axis = node.integer("axis", fallback);
  if (std::string reason = along(network, node.input(0), {&axis, 1}); !reason.empty()) return obstacle(std::move(reason));
  return by_rows(network, node);
}

// Axes in a constant input; `all` where it is left out.
RowRule along_input(const Network& network, const Node& node, size_t input, std::string_view left_out) {
  if (node.input(input) == kNone) return obstacle(std::string(left_out));
  const auto axes = known_integers(network.value(node.input(input)));
  if (!axes) return obstacle("its axes are not known");
  if (std::string reason = along(network, node.input(0), *axes); !reason.empty()) return obstacle(std::move(reason));
  return rows_of_first(network, node);
}

// NumPy's broadcasting against a result [batch, sequence, ...].
RowRule broadcast_rule(const Network& network, const Node& node) {
  const size_t result = rank(network, node.outputs[0]);
  RowRule rule;
  for (ValueId input : node.inputs) {
    const SymbolicShape& shape = network.value(input).shape;
    if (has_rows(network, input) && shape.size() == result) {
      rule.uses.push_back(RowUse::row);
    } else if (shape.size() + 2 <= result || (shape.size() + 1 == result && shape[0] == Dim(1))) {
      rule.uses.push_back(RowUse::as_it_is);
    } else if (shape.size() == result && (shape[0] == Dim(1) || shape[0] == Dim("batch")) &&
               (shape[1] == Dim(1) || shape[1] == Dim("sequence"))) {
      rule.uses.push_back(RowUse::spread);
    } else if (shape.size() + 1 == result && shape[0] == Dim("sequence")) {
      rule.uses.push_back(RowUse::spread);
    } else {
      return obstacle(fmt::format("it broadcasts {} over rows", to_string(shape)));
    }
  }
  return rule;
}

// A mask by the network's own input, or a cast of it: the same rows are attended.
bool is_network_mask(const Network& network, ValueId value, ValueId mask) {
  while (value != kNone && value != mask) {
    const Node* node = producer(network, value);
    if (!node || node->op != "cast" || is_float(network.value(node->input(0)).dtype)) return false;
    value = node->input(0);
  }
  return value == mask;
}

RowRule attention_rule(const Network& network, const Node& node, ValueId mask) {
  const ValueId own = node.input(3);
  if (!is_network_mask(network, own, mask))
    return obstacle(own == kNone ? "it attends to padded rows: it has no mask" : "its mask is not the network's");
  if (node.input(6) != kNone) return obstacle("its bias is by query and key");
  RowRule rule;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const bool inside = node.integer("packed_qkv") != 0;
    rule.uses.push_back(i == 0 && !inside ? RowUse::row : i < 3 ? RowUse::sequence : i == 3 ? RowUse::mask : RowUse::as_it_is);
  }
  return rule;
}

RowRule pool_rule(const Network& network, const Node& node, ValueId mask) {
  const bool first = node.text("mode") == "cls";
  const ValueId own = node.input(1);
  if (!first && !is_network_mask(network, own, mask))
    return obstacle(own == kNone ? "it reads padded rows: it has no mask" : "its mask is not the network's");
  return {"", {first ? RowUse::first : RowUse::sequence, RowUse::mask}};
}

RowRule matmul_rule(const Network& network, const Node& node) {
  const ValueId a = node.input(0), b = node.input(1);
  RowRule rule = by_rows(network, node);
  const size_t of_a = rank(network, a), of_b = rank(network, b);
  if (rule.uses[0] == RowUse::row && rule.uses[1] == RowUse::as_it_is && of_b <= 2 && of_a >= 3) return rule;
  if (rule.uses[0] == RowUse::row && rule.uses[1] == RowUse::row && of_a >= 4 && of_a == of_b) return rule;
  return obstacle("it multiplies along the sequence");
}

RowRule gather_rule(const Network& network, const Node& node) {
  const bool rows = has_rows(network, node.input(0)), indices = has_rows(network, node.input(1));
  if (!rows && indices && from_front(node.integer("axis"), rank(network, node.input(0))) == 0) return by_rows(network, node);
  if (rows && indices) return obstacle("it looks rows up in rows");
  return along_attribute(network, node, 0);
}

RowRule transpose_rule(const Network& network, const Node& node) {
  const auto permutation = node.integers("permutation");
  if (permutation.size() < 2 || permutation[0] != 0 || permutation[1] != 1) return obstacle("it moves batch or sequence");
  return by_rows(network, node);
}

RowRule reshape_rule(const Network& network, const Node& node) {
  for (ValueId value : {node.input(0), node.outputs[0]}) {
    const SymbolicShape& shape = network.value(value).shape;
    if (!has_rows(network, value) || !std::all_of(shape.begin() + 2, shape.end(), [](const Dim& dim) { return dim.is_fixed(); }))
      return obstacle("it does not keep batch and sequence");
  }
  return by_rows(network, node);
}

RowRule quantize_rule(const Network& network, const Node& node) {
  const SymbolicShape& scale = network.value(node.input(1)).shape;
  if (scale.empty() || scale == SymbolicShape{Dim(1)}) return rows_of_first(network, node);
  return along_attribute(network, node, 1);
}

using Rule = RowRule (*)(const Network&, const Node&);
const std::map<std::string_view, Rule>& rules() {
  static const std::map<std::string_view, Rule> table = {
      {"cast", by_rows},
      {"clip", rows_of_first},
      {"concat",
       [](const Network& n, const Node& x) {
         RowRule rule = along_attribute(n, x, 0);
         const bool all = std::all_of(x.inputs.begin(), x.inputs.end(), [&](ValueId part) { return has_rows(n, part); });
         return rule.obstacle.empty() && !all ? obstacle("not all of its parts have rows") : rule;
       }},
      {"cumulative_sum", [](const Network& n, const Node& x) { return along_input(n, x, 1, "its axis is not known"); }},
      {"dequantize_linear", quantize_rule},
      {"elementwise", broadcast_rule},
      {"embedding", by_rows},
      {"embedding_layer_norm", by_rows},
      {"fake_quantize", over_last_axis},
      {"gather", gather_rule},
      {"gather_elements",
       [](const Network& n, const Node& x) {
         RowRule rule = along_attribute(n, x, 0);
         const bool both = has_rows(n, x.input(0)) && has_rows(n, x.input(1));
         return rule.obstacle.empty() && !both ? obstacle("its indices or its elements have no rows") : rule;
       }},
      {"gelu", by_rows},
      {"fp8_linear", over_last_axis},
      {"int8_linear", over_last_axis},
      {"layer_norm", over_last_axis},
      {"linear", over_last_axis},
      {"linear_skip_layer_norm", over_last_axis},
      {"matmul", matmul_rule},
      {"matmul_integer", matmul_rule},
      {"normalize", over_last_axis},
      {"quantize_linear", quantize_rule},
      {"quantize_rows", over_last_axis},
      {"reduce", [](const Network& n, const Node& x) { return along_input(n, x, 1, "it works along the sequence"); }},
      {"reshape", reshape_rule},
      {"skip_layer_norm", over_last_axis},
      {"top_k_log_sum_exp", over_last_axis},
      {"slice", [](const Network& n, const Node& x) { return along_input(n, x, 3, "it works along the batch"); }},
      {"softmax", [](const Network& n, const Node& x) { return along_attribute(n, x, -1); }},
      {"split", [](const Network& n, const Node& x) { return along_attribute(n, x, 0); }},
      {"squeeze", [](const Network& n, const Node& x) { return along_input(n, x, 1, "its axes are not known"); }},
      {"transpose", transpose_rule},
      {"unary", by_rows},
      {"unsqueeze",
       [](const Network& n, const Node& x) {
         if (const auto axes = known_integers(n.value(x.input(1))); axes) {
           std::string reason = along(n, x.outputs[0], *axes);
           return reason.empty() ? rows_of_first(n, x) : obstacle(std::move(reason));
         }
         return obstacle("its axes are not known");
       }},
      {"where", broadcast_rule},
  };
  return table;
}

// Integers in a constant input, each by `change`.
void change_integers(Network& network, NodeId id, size_t input, const std::function<int64_t(int64_t)>& change) {
  const ValueId old = network.node(id).inputs[input];
  std::vector<int64_t> numbers = *known_integers(network.value(old));
  for (int64_t& number : numbers) number = change(number);
  // A scalar stays one.
  const Shape shape = network.value(old).shape.empty() ? Shape() : Shape{static_cast<int64_t>(numbers.size())};
  const ValueId changed = network.add_constant(network.value(old).name + ".packed", Tensor::from_int64s(shape, numbers));
  network.mutable_node(id).inputs[input] = changed;
}

}  // namespace

bool has_rows(const Network& network, ValueId value) {
  const SymbolicShape& shape = network.value(value).shape;
  return shape.size() >= 2 && shape[0] == Dim("batch") && shape[1] == Dim("sequence");
}

bool comes_from_encoder(const Network& network, ValueId value) {
  if (!is_float(network.value(value).dtype)) return false;
  std::set<ValueId> seen;
  std::vector<ValueId> pending{value};
  while (!pending.empty()) {
    const ValueId id = pending.back();
    pending.pop_back();
    if (id == kNone || !seen.insert(id).second) continue;
    const Value& own = network.value(id);
    // A weight is a float constant of more than one element; a mask is made with single numbers.
    if (own.constant && is_float(own.dtype) && own.constant->shape.elements() > 1) return true;
    if (own.producer == kNone) continue;
    const auto& inputs = network.node(own.producer).inputs;
    pending.insert(pending.end(), inputs.begin(), inputs.end());
  }
  return false;
}

RowRule row_rule(const Network& network, const Node& node, ValueId mask) {
  if (node.op == "attention") return attention_rule(network, node, mask);
  if (node.op == "pool") return pool_rule(network, node, mask);
  const auto found = rules().find(node.op);
  RowRule rule = is_row_wise_plugin(network, node) ? by_rows(network, node)
                 : found == rules().end()          ? obstacle(fmt::format("op {} is not known to work row by row", node.op))
                                                   : found->second(network, node);
  for (ValueId output : node.outputs) {
    if (!rule.obstacle.empty() || has_rows(network, output)) continue;
    return obstacle(fmt::format("its result {} has other rows", to_string(network.value(output).shape)));
  }
  return rule;
}

void pack_node(Network& network, NodeId id, const RowRule& rule, const std::function<ValueId(ValueId, RowUse)>& packed) {
  // Ranks as they were.
  const Node before = network.node(id);
  const size_t of_x = before.input(0) == kNone ? 0 : rank(network, before.input(0));
  const bool rows = before.input(0) != kNone && has_rows(network, before.input(0));
  const SymbolicShape result = network.value(before.outputs[0]).shape;
  const auto shifted = [&](size_t old_rank) { return [old_rank](int64_t axis) { return from_front(axis, old_rank) - 1; }; };
  for (size_t i = 0; i < before.inputs.size(); ++i) {
    if (before.inputs[i] == kNone) continue;
    const ValueId input = rule.uses[i] == RowUse::mask ? kNone : packed(before.inputs[i], rule.uses[i]);
    network.mutable_node(id).inputs[i] = input;
  }
  auto& inputs = network.mutable_node(id).inputs;
  while (!inputs.empty() && inputs.back() == kNone) inputs.pop_back();

  const std::string& op = before.op;
  if (op == "concat" || op == "gather_elements" || op == "split" || (op == "gather" && rows) || op == "dequantize_linear" ||
      op == "quantize_linear" || op == "softmax") {
    const int64_t fallback = op == "softmax" ? -1 : op.ends_with("quantize_linear") ? 1 : 0;
    const int64_t axis = from_front(before.integer("axis", fallback), of_x);
    // A quantisation of the whole tensor names an axis that it does not use.
    network.mutable_node(id).attributes["axis"] = axis == 0 ? int64_t{0} : axis - 1;
  }
  if (op == "transpose") {
    auto permutation = before.integers("permutation");
    permutation.erase(permutation.begin());
    for (int64_t& axis : permutation) --axis;
    network.mutable_node(id).attributes["permutation"] = permutation;
  }
  if (op == "cumulative_sum" || op == "reduce" || op == "squeeze") change_integers(network, id, 1, shifted(of_x));
  if (op == "slice") change_integers(network, id, 3, shifted(of_x));
  if (op == "unsqueeze") change_integers(network, id, 1, shifted(result.size()));
  if (op == "reshape") {
    std::vector<int64_t> shape{0};  // keeps the tokens
    for (size_t axis = 2; axis < result.size(); ++axis) shape.push_back(result[axis].size);
    network.mutable_node(id).attributes.erase("allow_zero");
    const ValueId wanted = network.add_integers(shape);
    network.mutable_node(id).inputs[1] = wanted;
  }
}

}  // namespace bertie
