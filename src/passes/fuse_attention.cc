// softmax(scale * q k^T + bias + mask) v from pieces. Which axes are heads is read from the views of q, k and v, whatever reshapes,
// transposes, splits and slices made them; what lies between the two products is run and compared (attention_scores.h).
#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "passes/attention_scores.h"
#include "passes/linear_rows.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/view.h"

namespace bertie {
namespace {

// One operand of a product as heads of a [batch, sequence, N] value: element (b, s, h, d) is base[b, s, columns[h * D + d]].
struct Heads {
  ValueId base = kNone;
  int64_t heads = 1;
  int64_t head_dim = 1;
  double scale = 1;
  std::vector<int64_t> columns;
};

struct HeadFactor {
  int64_t extent = 1;
  int64_t stride = 0;
};

// A factor of fixed extent on axis 2 of the base.
std::optional<HeadFactor> on_columns(const std::vector<Factor>& factors) {
  if (factors.empty()) return HeadFactor{};
  if (factors.size() != 1 || factors[0].axis != 2 || !factors[0].extent.is_fixed() || !factors[0].stride.is_fixed())
    return std::nullopt;
  return HeadFactor{factors[0].extent.size, factors[0].stride.size};
}

// `rows` and `dims`: which of the two last axes counts the sequence and which the head's elements.
std::optional<Heads> heads_of(const Network& network, ValueId value, bool transposed, std::string& reason) {
  const View view = view_of(network, value, Scaling::pass);
  const SymbolicShape& shape = network.value(view.base).shape;
  const auto reject = [&](std::string_view why) {
    reason = fmt::format("'{}' is no view by heads of a [batch, sequence, heads*dim] value: {}", network.value(value).name, why);
    return std::nullopt;
  };
  if (shape.size() != 3 || view.axes.size() < 3)
    return reject(fmt::format("it comes from '{}' {}", network.value(view.base).name, to_string(shape)));
  const auto& rows = view.axes[view.axes.size() - (transposed ? 1 : 2)];
  const auto& dims = view.axes[view.axes.size() - (transposed ? 2 : 1)];
  if (!is_whole_axis(network, view, rows, 1)) return reject("its rows are not the sequence");
  std::vector<Factor> leading;
  for (size_t axis = 0; axis + 2 < view.axes.size(); ++axis)
    leading.insert(leading.end(), view.axes[axis].begin(), view.axes[axis].end());
  if (!(shape[0] == Dim(1))) {
    if (leading.empty() || !is_whole_axis(network, view, {leading.front()}, 0)) return reject("its first axis is not the batch");
    leading.erase(leading.begin());
  }
  for (const Factor& factor : leading) {
    if (factor.axis == Factor::kBroadcast) return reject("heads share it");
  }
  const auto head = on_columns(leading);
  const auto dim = on_columns(dims);
  if (!head || !dim) return reject("its heads are not columns");
  Heads result{view.base, head->extent, dim->extent, view.scale, {}};
  for (int64_t h = 0; h < head->extent; ++h) {
    for (int64_t d = 0; d < dim->extent; ++d) result.columns.push_back(view.offsets[2] + h * head->stride + d * dim->stride);
  }
  return result;
}

// The nearest node of `op` above a value, through ops that compute scores; nullptr where there is none, `several` where there are more.
const Node* nearest(const Network& network, ValueId from, std::string_view op, bool& several) {
  constexpr size_t kFarthest = 256;
  std::vector<ValueId> pending = {from};
  const Node* found = nullptr;
  for (size_t i = 0; i < pending.size() && i < kFarthest; ++i) {
    const Node* node = producer(network, pending[i]);
    if (!node) continue;
    if (node->op == op) {
      several = several || (found && found != node);
      found = node;
      continue;
    }
    if (node->op == "linear" || node->op == "layer_norm" || node->op == "matmul" || node->op == "attention" ||
        node->op == "embedding" || node->op == "shape")
      continue;
    for (ValueId input : node->inputs) {
      if (input != kNone && std::find(pending.begin(), pending.end(), input) == pending.end()) pending.push_back(input);
    }
  }
  return found;
}

class Fusion {
 public:
  Fusion(Network& network, PassLog& log) : network_(network), log_(log), reader_(network), rows_(network) {}

  void try_product(NodeId id) {
    const Node context = network_.node(id);
    if (context.op != "matmul") return;
    bool several = false;
    const Node* softmax = nearest(network_, context.input(0), "softmax", several);
    if (!softmax) return;
    std::string reason;
    if (!fuse(id, context, *softmax, reason)) log_.refused("{}: {}", context.name, reason);
  }

  bool any() const { return any_; }

 private:
  bool fuse(NodeId id, const Node& context, const Node& softmax, std::string& reason) {
    bool several = false;
    const std::string softmax_name = softmax.name;
    const Node* found = nearest(network_, softmax.input(0), "matmul", several);
    if (!found || several) {
      reason = found ? "the scores come from several products" : "the scores come from no product";
      return false;
    }
    const Node product = *found;
    const auto q = heads_of(network_, product.input(0), false, reason);
    const auto k = q ? heads_of(network_, product.input(1), true, reason) : std::nullopt;
    const auto v = k ? heads_of(network_, context.input(1), false, reason) : std::nullopt;
    if (!v) return false;
    if (q->heads != k->heads || q->heads != v->heads || q->head_dim != k->head_dim || q->head_dim != v->head_dim) {
      reason = fmt::format("q, k and v differ: {}x{}, {}x{}, {}x{} heads and elements", q->heads, q->head_dim, k->heads,
                           k->head_dim, v->heads, v->head_dim);
      return false;
    }
    const SymbolicShape& shape = network_.value(q->base).shape;
    for (const Heads* other : {&*k, &*v}) {
      const SymbolicShape& own = network_.value(other->base).shape;
      if (!(own[0] == shape[0]) || !(own[1] == shape[1])) {
        reason = "the keys are of another sequence than the queries";
        return false;
      }
    }
    if (v->scale != 1) {
      reason = "the values are scaled";
      return false;
    }
    std::array<ValueId, 3> operands{};
    const std::array<const Heads*, 3> sources = {&*q, &*k, &*v};
    for (size_t i = 0; i < 3; ++i) {
      if (!obtainable(*sources[i])) {
        reason = fmt::format("the heads of '{}' are scattered columns", network_.value(sources[i]->base).name);
        return false;
      }
    }
    auto meaning = reader_.read(product.outputs[0], context.input(0), q->heads, shape[0], shape[1], reason);
    if (!meaning) meaning = reader_.read_with_bias(product.outputs[0], context.input(0), q->heads, shape[0], shape[1]);
    if (!meaning) return false;
    for (size_t i = 0; i < 3; ++i) operands[i] = operand(*sources[i], context.name + std::array{".q", ".k", ".v"}[i]);
    const double scale = exact_scale(meaning->scale * q->scale * k->scale, q->head_dim);
    network_.erase_node(id);
    const ValueId fused = network_.add_node(
        "attention", {operands[0], operands[1], operands[2], meaning->mask, meaning->relative_bias, kNone, meaning->bias},
        {{"heads", q->heads}, {"scale", scale}}, context.name)[0];
    const ValueId split = by_heads(fused, q->heads, q->head_dim, network_.value(context.outputs[0]).shape, context.name);
    log_.matched("{} + {} + {} -> attention heads={} scale={} mask={}{}", product.name, softmax_name, context.name, q->heads,
                 scale, meaning->mask == kNone ? "none" : network_.value(meaning->mask).name,
                 meaning->relative_bias != kNone ? ", a relative bias"
                 : meaning->bias != kNone        ? fmt::format(", a bias by query and key, for {}", reason)
                                                 : "");
    network_.replace_uses(context.outputs[0], split);
    any_ = true;
    return true;
  }

  bool is_run(const std::vector<int64_t>& columns) const {
    for (size_t i = 0; i < columns.size(); ++i) {
      if (columns[i] != columns[0] + static_cast<int64_t>(i)) return false;
    }
    return true;
  }

  bool obtainable(const Heads& heads) const { return is_run(heads.columns) || LinearRows::can_take(network_, heads.base); }

  // The [batch, sequence, H*D] value of these columns.
  ValueId operand(const Heads& heads, const std::string& name) {
    const bool run = is_run(heads.columns);
    const int64_t count = static_cast<int64_t>(heads.columns.size());
    if (run && network_.value(heads.base).shape[2] == Dim(count)) return heads.base;
    if (LinearRows::can_take(network_, heads.base)) {
      const auto [known, fresh] = taken_.try_emplace({heads.base, heads.columns}, kNone);
      if (fresh) known->second = rows_.take(heads.base, heads.columns, name);
      return known->second;
    }
    return network_.add_slice(heads.base, 2, heads.columns.front(), heads.columns.front() + count, name);
  }

  // 1/sqrt(D) as a family has it, where the graph's own constant is that in float32.
  static double exact_scale(double scale, int64_t head_dim) {
    const double usual = 1.0 / std::sqrt(static_cast<double>(head_dim));
    return std::fabs(scale / usual - 1) < 1e-6 ? usual : scale;
  }

  // [B, S, H*D] as the product of weights and values had it: [B, H, S, D] or [B*H, S, D].
  ValueId by_heads(ValueId context, int64_t heads, int64_t head_dim, const SymbolicShape& shape, const std::string& name) {
    const ValueId split = network_.add_reshape(context, std::vector<int64_t>{0, 0, heads, head_dim}, name + ".heads");
    const ValueId transposed = network_.add_transpose(split, {0, 2, 1, 3}, name + ".transposed");
    if (shape.size() == 4) return transposed;
    const ValueId sequence =
        network_.add_node("shape", {context}, {{"start", int64_t{1}}, {"end", int64_t{2}}}, name + ".length")[0];
    const ValueId extents = network_.add_concat(
        {network_.add_integers(std::vector<int64_t>{-1}), sequence, network_.add_integers(std::vector<int64_t>{head_dim})}, 0,
        name + ".extents");
    return network_.add_node("reshape", {transposed, extents}, {}, name + ".merged")[0];
  }

  Network& network_;
  PassLog& log_;
  ScoreReader reader_;
  LinearRows rows_;
  std::map<std::pair<ValueId, std::vector<int64_t>>, ValueId> taken_;
  bool any_ = false;
};

}  // namespace

void fuse_attention(Network& network, const PassOptions&, PassLog& log) {
  Fusion fusion(network, log);
  for (NodeId id : network.order()) fusion.try_product(id);
  if (!fusion.any()) return;
  network.remove_dead_nodes();
  // The heads side by side again: the graph's own transpose and reshape cancel those above.
  to_canonical_form(network);
}

}  // namespace bertie
