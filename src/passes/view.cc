#include "passes/view.h"

#include <algorithm>

#include "network/dim.h"
#include "network/op.h"
#include "network/slice.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace bertie {
namespace {

using Factors = std::vector<Factor>;

// Joins neighbours that together are one run.
Factors merged(const Factors& factors) {
  Factors result;
  for (const Factor& factor : factors) {
    if (factor.extent == Dim(1)) continue;
    if (!result.empty() && result.back().axis == factor.axis && factor.axis != Factor::kBroadcast &&
        result.back().stride == factor.extent * factor.stride) {
      result.back() = {factor.axis, result.back().extent * factor.extent, factor.stride};
    } else {
      result.push_back(factor);
    }
  }
  return result;
}

bool is_unknown(const Dim& dim) { return !dim.is_fixed() && dim.symbol.find('?') != std::string::npos; }

// Takes factors of `extent` elements in all from the front (or the back) of `left`. False where the extents do not nest.
bool take(Factors& left, Dim extent, bool front, Factors& taken) {
  while (!(extent == Dim(1))) {
    if (left.empty()) return false;
    Factor& factor = front ? left.front() : left.back();
    if (const auto rest = divide(extent, factor.extent)) {
      taken.insert(front ? taken.end() : taken.begin(), factor);
      left.erase(front ? left.begin() : left.end() - 1);
      extent = *rest;
      continue;
    }
    const auto other = divide(factor.extent, extent);
    if (!other) return false;
    const Factor outer{factor.axis, front ? extent : *other, (front ? *other : extent) * factor.stride};
    const Factor inner{factor.axis, front ? *other : extent, factor.stride};
    taken.insert(front ? taken.end() : taken.begin(), front ? outer : inner);
    factor = front ? inner : outer;
    return true;
  }
  return true;
}

bool reshape(View& view, const SymbolicShape& shape) {
  Factors left;
  for (const Factors& axis : view.axes) left.insert(left.end(), axis.begin(), axis.end());
  left = merged(left);
  for (const Dim& dim : shape) {
    if (dim == Dim(0)) return false;
  }
  std::vector<Factors> axes(shape.size());
  size_t first = 0;
  size_t last = shape.size();
  for (; first < last && !is_unknown(shape[first]); ++first) {
    if (!take(left, shape[first], true, axes[first])) return false;
  }
  for (; last > first + 1; --last) {
    if (is_unknown(shape[last - 1]) || !take(left, shape[last - 1], false, axes[last - 1])) return false;
  }
  if (first < last) {
    axes[first] = std::move(left);
    left.clear();
  }
  if (!left.empty()) return false;
  for (Factors& axis : axes) axis = merged(axis);
  view.axes = std::move(axes);
  return true;
}

// Keeps `count` elements of one axis from `start`, `step` apart.
bool select(View& view, size_t axis, int64_t start, int64_t count, int64_t step) {
  Factors& factors = view.axes[axis];
  if (factors.empty()) return start == 0 && count == 1;
  if (factors.size() != 1) return false;
  Factor& factor = factors[0];
  if (factor.axis != Factor::kBroadcast) {
    if (!factor.stride.is_fixed()) return false;
    view.offsets[factor.axis] += start * factor.stride.size;
  }
  factor = {factor.axis, Dim(count), factor.stride * Dim(step)};
  if (count == 1) factors.clear();
  return true;
}

bool slice(const Network& network, const Node& node, View& view) {
  const SymbolicShape& from = network.value(node.input(0)).shape;
  const SymbolicShape& to = network.value(node.outputs[0]).shape;
  const auto starts = known_integers(network.value(node.input(1)));
  const auto ends = known_elements(network.value(node.input(2)));
  const auto axes = node.input(3) == kNone ? std::nullopt : known_integers(network.value(node.input(3)));
  const auto steps = node.input(4) == kNone ? std::nullopt : known_integers(network.value(node.input(4)));
  if (!starts || !ends || (node.input(3) != kNone && !axes) || (node.input(4) != kNone && !steps)) return false;
  for (size_t i = 0; i < starts->size(); ++i) {
    int64_t axis = axes ? (*axes)[i] : static_cast<int64_t>(i);
    if (axis < 0) axis += static_cast<int64_t>(from.size());
    const size_t at = static_cast<size_t>(axis);
    const int64_t step = steps ? (*steps)[i] : 1;
    const int64_t start = (*starts)[i];
    const Dim& end = (*ends)[i];
    if (start == 0 && step == 1 && to[at] == from[at] && !is_unknown(to[at])) continue;
    if (from[at].is_fixed() && end.is_fixed()) {
      const SliceRange range = slice_range(start, end.size, step, from[at].size);
      if (range.count < 1 || range.step < 1 || !select(view, at, range.start, range.count, range.step)) return false;
    } else if (!(to[at] == Dim(1)) || start < 0 || !select(view, at, start, 1, 1)) {
      return false;
    }
  }
  return true;
}

bool split(const Network& network, const Node& node, ValueId value, View& view) {
  const SymbolicShape& from = network.value(node.input(0)).shape;
  int64_t axis = node.integer("axis");
  if (axis < 0) axis += static_cast<int64_t>(from.size());
  int64_t start = 0;
  for (ValueId output : node.outputs) {
    const Dim& extent = network.value(output).shape[static_cast<size_t>(axis)];
    if (!extent.is_fixed() || extent.size < 1) return false;
    if (output == value) return select(view, static_cast<size_t>(axis), start, extent.size, 1);
    start += extent.size;
  }
  return false;
}

bool gather(const Network& network, const Node& node, View& view) {
  const Value& indices = network.value(node.input(1));
  const auto known = known_integers(network.value(node.input(1)));
  const SymbolicShape& from = network.value(node.input(0)).shape;
  if (!known || known->size() != 1 || indices.shape.size() > 1 || from.empty()) return false;
  int64_t axis = node.integer("axis");
  if (axis < 0) axis += static_cast<int64_t>(from.size());
  const Dim& extent = from[static_cast<size_t>(axis)];
  int64_t index = (*known)[0];
  if (index < 0 && !extent.is_fixed()) return false;
  if (index < 0) index += extent.size;
  if (!select(view, static_cast<size_t>(axis), index, 1, 1)) return false;
  if (indices.shape.empty()) view.axes.erase(view.axes.begin() + axis);
  return true;
}

bool expand(const Network& network, const Node& node, View& view) {
  const SymbolicShape& to = network.value(node.outputs[0]).shape;
  const SymbolicShape& from = network.value(node.input(0)).shape;
  view.axes.insert(view.axes.begin(), to.size() - from.size(), {});
  for (size_t i = 0; i < to.size(); ++i) {
    if (is_unknown(to[i])) return false;
    const Dim before = i + from.size() < to.size() ? Dim(1) : from[i + from.size() - to.size()];
    if (before == to[i]) continue;
    if (!(before == Dim(1))) return false;
    view.axes[i] = {{Factor::kBroadcast, to[i], Dim(0)}};
  }
  return true;
}

void transpose(const Node& node, View& view) {
  std::vector<Factors> axes(view.axes.rbegin(), view.axes.rend());
  const auto permutation = node.integers("permutation");
  for (size_t i = 0; i < permutation.size(); ++i) axes[i] = view.axes[static_cast<size_t>(permutation[i])];
  view.axes = std::move(axes);
}

// The view of `value` continued by one node; false where the node is no view op, or one that the algebra cannot express.
bool apply(const Network& network, const Node& node, ValueId value, View& view, Scaling scaling) {
  if (node.op == "reshape" || node.op == "squeeze" || node.op == "unsqueeze") return reshape(view, network.value(value).shape);
  if (node.op == "transpose") {
    transpose(node, view);
    return true;
  }
  if (node.op == "slice") return slice(network, node, view);
  if (node.op == "split") return split(network, node, value, view);
  if (node.op == "gather") return gather(network, node, view);
  if (node.op == "expand") return expand(network, node, view);
  if (node.op == "elementwise" && scaling == Scaling::pass) {
    const auto operand = scalar_operand(network, node);
    const std::string function = node.text("function");
    if (!operand || network.value(value).shape.size() != network.value(operand->x).shape.size()) return false;
    if (function == "mul") {
      view.scale *= operand->constant;
      return true;
    }
    if (function == "div" && !operand->constant_first && operand->constant != 0) {
      view.scale /= operand->constant;
      return true;
    }
  }
  return false;
}

// The input that a node may be a view of.
ValueId viewed_input(const Network& network, const Node& node) {
  if (node.op != "elementwise") return node.input(0);
  const auto operand = scalar_operand(network, node);
  return operand ? operand->x : kNone;
}

View whole(const Network& network, ValueId base) {
  View view;
  view.base = base;
  const SymbolicShape& shape = network.value(base).shape;
  view.offsets.assign(shape.size(), 0);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    view.axes.emplace_back();
    if (!(shape[axis] == Dim(1))) view.axes.back().push_back({axis, shape[axis], Dim(1)});
  }
  return view;
}

bool is_view_op(const Node& node) {
  return node.op == "reshape" || node.op == "squeeze" || node.op == "unsqueeze" || node.op == "transpose" || node.op == "slice" ||
         node.op == "split" || node.op == "gather" || node.op == "expand";
}

// The `shape` input of a reshape of `base` to `shape`; nullopt where it would take computed extents.
std::optional<std::vector<int64_t>> reshape_spec(const SymbolicShape& base, const SymbolicShape& shape) {
  std::vector<int64_t> spec;
  bool rest = false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].is_fixed()) {
      spec.push_back(shape[i].size);
    } else if (i < base.size() && base[i] == shape[i]) {
      spec.push_back(0);
    } else if (!rest) {
      rest = true;
      spec.push_back(-1);
    } else {
      return std::nullopt;
    }
  }
  return spec;
}

std::optional<std::vector<int64_t>> as_transpose(const Network& network, const View& view) {
  const SymbolicShape& base = network.value(view.base).shape;
  if (view.axes.size() != base.size()) return std::nullopt;
  std::vector<int64_t> permutation(base.size(), -1);
  std::vector<bool> used(base.size(), false);
  for (size_t i = 0; i < base.size(); ++i) {
    if (view.axes[i].empty()) continue;
    const size_t axis = view.axes[i][0].axis;
    if (axis == Factor::kBroadcast || !is_whole_axis(network, view, view.axes[i], axis)) return std::nullopt;
    permutation[i] = static_cast<int64_t>(axis);
    used[axis] = true;
  }
  for (size_t i = 0, next = 0; i < base.size(); ++i) {  // axes of extent 1, in order
    if (permutation[i] >= 0) continue;
    while (next < base.size() && used[next]) ++next;
    if (next == base.size() || !(base[next] == Dim(1))) return std::nullopt;
    permutation[i] = static_cast<int64_t>(next);
    used[next] = true;
  }
  for (int64_t offset : view.offsets) {
    if (offset != 0) return std::nullopt;
  }
  return permutation;
}

}  // namespace

View view_of(const Network& network, ValueId value, Scaling scaling) {
  // Up to the farthest value that view ops may reach, then down again; what the algebra cannot express becomes the base.
  std::vector<ValueId> chain = {value};
  for (const Node* node = producer(network, value); node; node = producer(network, chain.back())) {
    if (!is_view_op(*node) && !(node->op == "elementwise" && scaling == Scaling::pass)) break;
    const ValueId input = viewed_input(network, *node);
    if (input == kNone) break;
    chain.push_back(input);
  }
  View view = whole(network, chain.back());
  for (size_t i = chain.size() - 1; i-- > 0;) {
    const NodeId id = network.value(chain[i]).producer;
    if (apply(network, network.node(id), chain[i], view, scaling)) {
      view.nodes.push_back(id);
    } else {
      view = whole(network, chain[i]);
    }
  }
  return view;
}

bool is_whole_axis(const Network& network, const View& view, const std::vector<Factor>& factors, size_t axis) {
  const Dim& extent = network.value(view.base).shape[axis];
  if (view.offsets[axis] != 0) return false;
  if (extent == Dim(1)) return factors.empty();
  return factors.size() == 1 && factors[0] == Factor{axis, extent, Dim(1)};
}

bool is_identity(const Network& network, const View& view) {
  if (view.axes.size() != view.offsets.size() || view.scale != 1) return false;
  for (size_t axis = 0; axis < view.axes.size(); ++axis) {
    if (!is_whole_axis(network, view, view.axes[axis], axis)) return false;
  }
  return true;
}

bool is_reshape(const Network& network, const View& view) {
  if (view.scale != 1) return false;
  Factors all;
  for (const Factors& axis : view.axes) all.insert(all.end(), axis.begin(), axis.end());
  all = merged(all);
  size_t next = 0;
  for (size_t axis = 0; axis < view.offsets.size(); ++axis) {
    const bool used = next < all.size() && all[next].axis == axis;
    if (!is_whole_axis(network, view, used ? Factors{all[next]} : Factors{}, axis)) return false;
    next += used ? 1 : 0;
  }
  return next == all.size();
}

std::vector<std::string> simplify_views(Network& network) {
  std::vector<std::string> needless;
  for (NodeId id : network.order()) {
    if (!is_view_op(network.node(id))) continue;
    for (ValueId value : std::vector<ValueId>(network.node(id).outputs)) {
      if (network.consumers(value).empty() && !is_output(network, value)) continue;
      const View view = view_of(network, value, Scaling::stop);
      if (view.nodes.empty()) continue;
      const std::string name = network.node(id).name;
      if (is_identity(network, view)) {
        network.replace_uses(value, view.base);
        needless.push_back(name);
      } else if (view.nodes.size() > 1) {
        const SymbolicShape shape = network.value(value).shape;
        ValueId short_cut = kNone;
        if (is_reshape(network, view)) {
          const auto spec = reshape_spec(network.value(view.base).shape, shape);
          if (spec) short_cut = network.add_reshape(view.base, *spec, name);
        } else if (const auto permutation = as_transpose(network, view)) {
          short_cut = network.add_transpose(view.base, *permutation, name);
        }
        if (short_cut == kNone || !(network.value(short_cut).shape == shape)) continue;
        network.replace_uses(value, short_cut);
        needless.push_back(name);
      }
    }
  }
  return needless;
}

}  // namespace bertie
