// x / max(||x||, epsilon) over the last axis, from pieces: run on rows of many lengths, as in fuse_layer_norm.
#include <algorithm>
#include <array>
#include <cmath>

#include "network/op.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/region.h"

namespace bertie {
namespace {

constexpr double kTolerance = 1e-4;  // of an element of a row of length 1
// Lengths above and below any epsilon in use; their squares still are floats.
constexpr std::array<double, 5> kLengths = {1, 30, 1e-3, 1e-7, 1e-14};

double fill(int64_t row, int64_t column) { return kLengths[static_cast<size_t>(row) % kLengths.size()] * noise(row, column); }

// The length of the first row that is not normalised so, or nothing.
std::optional<double> first_difference(const RegionValues& numbers, const std::vector<float>& values, double epsilon) {
  for (int64_t row = 0; row < numbers.rows; ++row) {
    const float* x = numbers.root.data() + row * numbers.columns;
    double square = 0;
    for (int64_t i = 0; i < numbers.columns; ++i) square += static_cast<double>(x[i]) * x[i];
    const double length = std::sqrt(square);
    for (int64_t i = 0; i < numbers.columns; ++i) {
      const double expected = x[i] / std::max(length, epsilon);
      if (!(std::fabs(values[static_cast<size_t>(row * numbers.columns + i)] - expected) <= kTolerance)) return length;
    }
  }
  return std::nullopt;
}

struct Search {
  ValueId root = kNone, value = kNone;
  double epsilon = 0;
  std::string reason;  // of a near-miss
};

Search find(const Network& network, const Node& reduction) {
  Search search;
  for (ValueId root : possible_roots(network, reduction.input(0), is_row_wise)) {
    const SymbolicShape& shape = network.value(root).shape;
    if (network.value(root).dtype != DType::f32 || shape.empty() || !shape.back().is_fixed() || shape.back().size < 2) continue;
    const Region region = region_from(network, root, is_row_wise);
    if (std::find(region.values.begin(), region.values.end(), reduction.outputs[0]) == region.values.end()) continue;
    const RegionValues numbers = run_region(network, region, static_cast<int64_t>(kLengths.size()), fill);
    for (size_t i = region.values.size(); i-- > 0 && !numbers.values.empty();) {
      if (numbers.values[i].empty() || !(network.value(region.values[i]).shape == shape)) continue;
      std::vector<double> epsilons = {0};
      for (ValueId constant : constants_between(network, root, region.values[i])) {
        const auto number = scalar(network, constant);
        if (number && *number > 0 && *number < 0.1) epsilons.push_back(shortest_decimal(*number));
      }
      for (double epsilon : epsilons) {
        const auto difference = first_difference(numbers, numbers.values[i], epsilon);
        if (!difference) return {root, region.values[i], epsilon, ""};
        if (*difference < 1e-4)
          search.reason =
              fmt::format("'{}' divides by the length, but not by max(length, epsilon): a row of length {:.1e} differs",
                          network.node(network.value(region.values[i]).producer).name, *difference);
      }
    }
  }
  return search;
}

}  // namespace

void fuse_normalize(Network& network, const PassOptions&, PassLog& log) {
  for (NodeId id : network.order()) {
    const Node reduction = network.node(id);
    const std::string function = reduction.op == "reduce" ? reduction.text("function") : "";
    if ((function != "l2" && function != "sum" && function != "sum_square") || !over_last_axis(network, reduction)) continue;
    const Search found = find(network, reduction);
    if (found.value == kNone) {
      if (!found.reason.empty()) log.refused("{}: {}", reduction.name, found.reason);
      continue;
    }
    log.matched("{} -> normalize epsilon={}", fmt::join(names_between(network, found.root, found.value), " + "), found.epsilon);
    const std::string name = take_name(network, found.value);
    network.replace_uses(found.value, network.add_normalize(found.root, found.epsilon, name));
    network.remove_dead_nodes();
  }
}

}  // namespace bertie
