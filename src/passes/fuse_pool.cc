// One row a sequence from pieces. The row of column 0 is read from the view; means and maxima over the attended rows are run on
// chosen masks and compared with `pool`, however the mask is multiplied, expanded, summed and clamped.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "passes/match.h"
#include "passes/pass.h"
#include "passes/probe.h"
#include "passes/region.h"
#include "passes/view.h"

namespace bertie {
namespace {

constexpr size_t kLargest = 128;  // nodes of a pooling, its mask's included
constexpr double kTolerance = 1e-4;
constexpr std::array<std::string_view, 3> kModes = {"mean", "max", "mean_sqrt_length"};

bool is_light(const Node& node) {
  return node.op != "matmul" && node.op != "linear" && node.op != "layer_norm" && node.op != "attention" &&
         node.op != "softmax" && node.op != "embedding";
}

bool is_masking(const Network& network, const Node& node) {
  return network.value(node.outputs[0]).dtype == DType::f32 &&
         (node.op == "elementwise" || node.op == "where" || node.op == "cast" || node.op == "expand");
}

bool is_hidden(const Network& network, ValueId value, const SymbolicShape& ids) {
  const Value& hidden = network.value(value);
  return hidden.dtype == DType::f32 && hidden.shape.size() == 3 && hidden.shape[0] == ids[0] && hidden.shape[1] == ids[1] &&
         hidden.shape[2].is_fixed();
}

double pooled(std::string_view mode, const std::vector<bool>& attended, const float* x, int64_t b, int64_t s, int64_t width,
              int64_t column) {
  double sum = 0;
  double largest = -std::numeric_limits<double>::infinity();
  int64_t count = 0;
  for (int64_t k = 0; k < s; ++k) {
    if (!attended[static_cast<size_t>(b * s + k)]) continue;
    const double value = x[(b * s + k) * width + column];
    sum += value;
    largest = std::max(largest, value);
    ++count;
  }
  if (mode == "max") return largest;
  return sum / (mode == "mean" ? static_cast<double>(count) : std::sqrt(static_cast<double>(count)));
}

// Which mode `value`, a function of x and the mask, is; "" where it is none.
std::string_view mode_of(const Network& network, ValueId x, ValueId value, ValueId mask, const SymbolicShape& ids) {
  std::vector<std::string_view> possible(kModes.begin(), kModes.end());
  const int64_t width = network.value(x).shape[2].size;
  for (const auto& [batch, sequence, seed] : {std::array<int64_t, 3>{4, 7, 1}, {3, 5, 2}, {2, 1, 3}}) {
    const Extents extents(ids[0], ids[1], batch, sequence);
    auto attended = probe_mask(extents.batch, extents.sequence, static_cast<uint32_t>(seed));
    if (mask == kNone) attended.assign(attended.size(), true);
    auto inputs = probe_inputs(network, extents, mask, attended);
    const Tensor hidden = make_tensor(DType::f32, Shape{extents.batch, extents.sequence, width},
                                      [&](int64_t i) { return 0.5 + noise(i / width, i % width); });
    inputs[x] = hidden;
    const auto actual = try_evaluate(network, value, inputs);
    if (!actual || actual->dtype != DType::f32 || !(actual->shape == Shape{extents.batch, width})) return "";
    std::erase_if(possible, [&](std::string_view mode) {
      for (int64_t b = 0; b < extents.batch; ++b) {
        for (int64_t i = 0; i < width; ++i) {
          const double expected = pooled(mode, attended, hidden.view().as<float>(), b, extents.sequence, width, i);
          if (!(std::fabs(actual->view().as<float>()[b * width + i] - expected) <= kTolerance)) return true;
        }
      }
      return false;
    });
  }
  return possible.empty() ? "" : possible.front();
}

// What is computed from the reduction alone and masks, the farthest last.
std::vector<ValueId> results_of(const Network& network, ValueId reduced) {
  constexpr size_t kFarthest = 12;
  std::vector<ValueId> values = {reduced};
  for (size_t i = 0; i < values.size() && values.size() < kFarthest; ++i) {
    for (NodeId id : network.consumers(values[i])) {
      const Node& node = network.node(id);
      if ((node.op == "elementwise" || node.op == "reshape" || node.op == "squeeze") &&
          std::find(values.begin(), values.end(), node.outputs[0]) == values.end())
        values.push_back(node.outputs[0]);
    }
  }
  return values;
}

bool fuse_reduction(Network& network, NodeId id, const SymbolicShape& ids, PassLog& log) {
  const Node reduction = network.node(id);
  const SymbolicShape& shape = network.value(reduction.input(0)).shape;
  if (shape.size() != 3 || !(shape[0] == ids[0]) || !(shape[1] == ids[1])) return false;
  std::string reason;
  const auto roots = possible_roots(network, reduction.input(0), is_masking);
  const auto results = results_of(network, reduction.outputs[0]);
  for (size_t r = roots.size(); r-- > 0;) {
    if (!is_hidden(network, roots[r], ids)) continue;
    for (size_t i = results.size(); i-- > 0;) {
      const Cone cone = cone_of(network, results[i], {roots[r]}, kLargest, is_light);
      if (cone.stopped || cone.roots.empty() || cone.inputs.size() > 1) continue;
      const ValueId mask = cone.inputs.empty() ? kNone : *cone.inputs.begin();
      if (mask != kNone && !(network.value(mask).shape == ids)) continue;
      const std::string_view mode = mode_of(network, roots[r], results[i], mask, ids);
      if (mode.empty()) {
        reason = fmt::format("'{}' reduces the sequence of '{}', but is no mean or maximum of its attended rows",
                             network.node(network.value(results[i]).producer).name, network.value(roots[r]).name);
        continue;
      }
      log.matched("{} -> pool mode={} mask={}", fmt::join(names_between(network, roots[r], results[i]), " + "), mode,
                  mask == kNone ? "none" : network.value(mask).name);
      const std::string name = take_name(network, results[i]);
      network.replace_uses(results[i], network.add_pool(roots[r], mask, std::string(mode), name));
      return true;
    }
  }
  if (!reason.empty()) log.refused("{}: {}", reduction.name, reason);
  return false;
}

bool fuse_first_row(Network& network, NodeId id, const SymbolicShape& ids, PassLog& log) {
  const Node node = network.node(id);
  const ValueId value = node.outputs[0];
  if (node.op != "gather" && node.op != "slice" && node.op != "squeeze" && node.op != "reshape" && node.op != "split")
    return false;
  if (network.value(value).shape.size() != 2 || network.value(value).dtype != DType::f32) return false;
  const View view = view_of(network, value, Scaling::stop);
  if (!is_hidden(network, view.base, ids) || view.axes.size() != 2 || view.offsets[1] != 0 || ids[1] == Dim(1)) return false;
  if (!is_whole_axis(network, view, view.axes[0], 0) || !is_whole_axis(network, view, view.axes[1], 2)) return false;
  log.matched("{}: row 0 of each sequence -> pool mode=cls", node.name);
  const std::string name = take_name(network, value);
  network.replace_uses(value, network.add_pool(view.base, kNone, "cls", name));
  return true;
}

}  // namespace

void fuse_pool(Network& network, const PassOptions&, PassLog& log) {
  const ValueId token_ids = network.input_of(InputRole::token_ids);
  if (token_ids == kNone || network.value(token_ids).shape.size() != 2) return;
  const SymbolicShape ids = network.value(token_ids).shape;
  for (NodeId id : network.order()) {
    if (network.node(id).op.empty()) continue;
    const bool changed =
        network.node(id).op == "reduce" ? fuse_reduction(network, id, ids, log) : fuse_first_row(network, id, ids, log);
    if (changed) network.remove_dead_nodes();
  }
}

}  // namespace bertie
