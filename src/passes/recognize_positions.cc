// Ids that a graph computes. Position ids, found by running them, become the network's input position_ids with a rule that says how to
// count; token types that are 0 by construction become the row of the table that they pick.
#include <algorithm>
#include <random>
#include <set>

#include "network/op.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/probe.h"

namespace bertie {
namespace {

constexpr size_t kLargest = 128;  // nodes of a computation of ids

struct Computed {
  int64_t batch = 0, sequence = 0;
  std::vector<int64_t> tokens;   // [batch, sequence]
  std::vector<int64_t> numbers;  // what was computed of them, broadcast to [batch, sequence]
};

class Recognition {
 public:
  Recognition(Network& network, PassLog& log, ValueId token_ids)
      : network_(network), log_(log), token_ids_(token_ids), shape_(network.value(token_ids).shape) {}

  void ids(NodeId id) {
    const Node node = network_.node(id);
    if (node.op != "embedding" || is_network_input(network_, node.input(1)) || is_constant(network_, node.input(1))) return;
    const Cone cone = cone_of(network_, node.input(1), {}, kLargest,
                              [](const Node& inner) { return inner.op != "matmul" && inner.op != "linear"; });
    const bool by_tokens = cone.inputs.contains(token_ids_);
    if (cone.stopped || cone.inputs.size() > (by_tokens ? 1u : 0u)) {
      log_.refused("{}: its ids depend on more than input_ids and extents", node.name);
      return;
    }
    if (const auto same = constant_id(node.input(1))) {
      const Value& table = network_.value(node.input(0));
      if (*same < 0 || !table.constant || *same >= table.shape[0].size) return;
      log_.matched("{}: every id is {} -> a constant row", node.name, *same);
      network_.replace_uses(node.outputs[0], network_.add_constant(node.name + ".row", row(*table.constant, *same)));
      network_.erase_node(id);
      return;
    }
    const auto rule = position_rule(node.input(1), by_tokens, cone.constants);
    if (!rule) {
      log_.refused("{}: its ids are neither one number nor positions", node.name);
      return;
    }
    const ValueId positions = position_input(node, *rule);
    if (positions == kNone) return;
    network_.erase_node(id);
    network_.replace_uses(node.outputs[0], network_.add_embedding(node.input(0), positions, node.name));
  }

  // A slice of a position table by the sequence's length, added without any ids.
  void rows(NodeId id) {
    if (!is_function(&network_.node(id), "elementwise", "add")) return;
    for (ValueId operand : std::vector<ValueId>(network_.node(id).inputs)) {
      const Node* maker = producer(network_, operand);
      const SymbolicShape shape = network_.value(operand).shape;
      if (!maker || maker->op == "embedding" || network_.value(operand).dtype != DType::f32) continue;
      if (shape.size() < 2 || !shape.back().is_fixed() || !(shape[shape.size() - 2] == shape_[1])) continue;
      const Cone cone = cone_of(network_, operand, {}, kLargest, [](const Node&) { return true; });
      if (cone.stopped || !cone.inputs.empty()) continue;
      const Extents extents(shape_[0], shape_[1], 1, 5);
      const auto found = try_evaluate(network_, operand, probe_inputs(network_, extents, kNone, {}));
      if (!found || found->shape.elements() != extents.sequence * shape.back().size) continue;
      for (ValueId table : cone.constants) {
        const auto first = first_row(*found, *network_.value(table).constant, extents.sequence);
        if (!first) continue;
        const Node node = *maker;
        const ValueId positions = position_input(node, {static_cast<int32_t>(*first), -1});
        if (positions == kNone) return;
        network_.replace_uses(operand, network_.add_embedding(matrix(table), positions, node.name));
        break;
      }
    }
  }

 private:
  std::optional<Computed> compute(ValueId ids, int64_t batch, int64_t sequence, const std::vector<int64_t>& choices) {
    const Extents extents(shape_[0], shape_[1], batch, sequence);
    Computed computed{extents.batch, extents.sequence, {}, {}};
    std::mt19937 random(static_cast<uint32_t>(31 * batch + sequence));
    for (int64_t i = 0; i < computed.batch * computed.sequence; ++i)
      computed.tokens.push_back(choices[random() % choices.size()]);
    auto inputs = probe_inputs(network_, extents, kNone, {});
    inputs[token_ids_] = make_tensor(network_.value(token_ids_).dtype, Shape{computed.batch, computed.sequence},
                                     [&](int64_t i) { return static_cast<double>(computed.tokens[static_cast<size_t>(i)]); });
    const auto tensor = try_evaluate(network_, ids, inputs);
    if (!tensor) return std::nullopt;
    const int64_t count = tensor->shape.elements();
    if (count != computed.batch * computed.sequence && count != computed.sequence && count != 1) return std::nullopt;
    for (int64_t i = 0; i < computed.batch * computed.sequence; ++i)
      computed.numbers.push_back(static_cast<int64_t>(element(tensor->view(), i % count)));
    return computed;
  }

  std::optional<int64_t> constant_id(ValueId ids) {
    std::optional<int64_t> same;
    for (int64_t sequence : {4, 7}) {
      const auto computed = compute(ids, 3, sequence, {0, 1, 2, 3});
      if (!computed) return std::nullopt;
      for (int64_t number : computed->numbers) {
        if (same.value_or(number) != number) return std::nullopt;
        same = number;
      }
    }
    return same;
  }

  std::optional<PositionRule> position_rule(ValueId ids, bool by_tokens, const std::set<ValueId>& constants) {
    std::vector<int64_t> padding = {-1};
    if (by_tokens) {
      padding = {0, 1};
      for (ValueId constant : constants) {
        const auto number = scalar(network_, constant);
        if (number && *number >= 0 && *number < 1e9) padding.push_back(static_cast<int64_t>(*number));
      }
    }
    for (int64_t pad : padding) {
      std::optional<int64_t> first;
      bool follows = true;
      for (int64_t sequence : {6, 9}) {
        const auto computed =
            compute(ids, 4, sequence, by_tokens ? std::vector<int64_t>{pad, 5 + pad, 6 + pad, 7 + pad} : std::vector<int64_t>{0});
        if (!computed) return std::nullopt;
        if (!first) first = by_tokens ? pad + 1 : computed->numbers[0];
        for (int64_t b = 0; b < computed->batch; ++b) {
          int64_t next = *first;
          for (int64_t k = 0; k < computed->sequence; ++k) {
            const size_t at = static_cast<size_t>(b * computed->sequence + k);
            const bool padded = by_tokens && computed->tokens[at] == pad;
            follows = follows && computed->numbers[at] == (padded ? pad : next);
            next += padded ? 0 : 1;
          }
        }
      }
      if (follows && *first >= 0) return PositionRule{static_cast<int32_t>(*first), static_cast<int32_t>(pad)};
    }
    return std::nullopt;
  }

  // The input position_ids, made where there is none; kNone where another rule is in force.
  ValueId position_input(const Node& node, const PositionRule& rule) {
    ValueId positions = network_.input_of(InputRole::position_ids);
    if (positions != kNone && (!ours_ || !(network_.position_rule() == std::optional(rule)))) {
      log_.refused("{}: its positions are computed, beside those of '{}'", node.name, network_.value(positions).name);
      return kNone;
    }
    if (positions == kNone) {
      positions = network_.add_input("position_ids", DType::i64, shape_);
      network_.set_position_rule(rule);
      ours_ = true;
    }
    if (rule.padding_id >= 0) {
      log_.matched("{}: computed ids -> position_ids, counting from {} the tokens other than {}", node.name, rule.first,
                   rule.padding_id);
    } else {
      log_.matched("{}: computed ids -> position_ids, counting from {}", node.name, rule.first);
    }
    return positions;
  }

  static Tensor row(const Tensor& table, int64_t index) {
    std::vector<float> numbers;
    for (int64_t i = 0; i < table.shape[1]; ++i)
      numbers.push_back(static_cast<float>(element(table.view(), index * table.shape[1] + i)));
    return Tensor::from_floats(Shape{table.shape[1]}, numbers);
  }

  // Which row of the table the rows begin with; they follow one another.
  static std::optional<int64_t> first_row(const Tensor& rows, const Tensor& table, int64_t count) {
    constexpr int64_t kFarthest = 8;
    const int64_t width = rows.shape.back();
    if (table.shape.rank() < 2 || table.shape.back() != width || !is_float(table.dtype)) return std::nullopt;
    const int64_t height = table.shape.elements() / width;
    for (int64_t first = 0; first <= kFarthest && first + count <= height; ++first) {
      bool same = true;
      for (int64_t i = 0; same && i < count * width; ++i)
        same = element(rows.view(), i) == element(table.view(), first * width + i);
      if (same) return first;
    }
    return std::nullopt;
  }

  ValueId matrix(ValueId table) {
    Tensor tensor = *network_.value(table).constant;
    if (tensor.shape.rank() == 2) return table;
    tensor.shape = Shape{tensor.shape.elements() / tensor.shape.back(), tensor.shape.back()};
    return network_.add_constant(network_.value(table).name, tensor);
  }

  Network& network_;
  PassLog& log_;
  ValueId token_ids_;
  SymbolicShape shape_;  // [batch, sequence]
  bool ours_ = false;    // the input position_ids is this pass's
};

}  // namespace

void recognize_positions(Network& network, const PassOptions&, PassLog& log) {
  const ValueId token_ids = network.input_of(InputRole::token_ids);
  if (token_ids == kNone || network.value(token_ids).shape.size() != 2) return;
  Recognition recognition(network, log, token_ids);
  for (NodeId id : network.order()) recognition.ids(id);
  for (NodeId id : network.order()) recognition.rows(id);
  network.remove_dead_nodes();
  network.infer_shapes();
}

}  // namespace bertie
