// LayerNorm from pieces: whatever depends on the rows of one value and constants alone is run on rows of many means and variances and
// compared with layer_norm, its gamma, beta and epsilon taken from the constants in between. A variance computed as E[x^2] - E[x]^2 is
// not taken: it loses its digits where the mean is large, and the comparison shows it.
#include <algorithm>
#include <array>
#include <cmath>

#include "network/op.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/region.h"

namespace bertie {
namespace {

constexpr double kTolerance = 1e-3;  // of a normalised element: float32 arithmetic on a row of mean 1000 leaves 1e-4
struct RowKind {
  double mean, deviation;
};
// Deviations from below the square root of any epsilon in use to 1; the last row has lost all digits of E[x^2] - E[x]^2.
constexpr std::array<RowKind, 9> kRows = {
    {{0.3, 1}, {0, 1}, {0, 0.1}, {0, 1e-2}, {0, 3e-3}, {0, 1e-3}, {0, 1e-4}, {0, 1e-6}, {1000, 1}}};
constexpr size_t kLargeMean = 8;

double fill(int64_t row, int64_t column) {
  const RowKind& kind = kRows[static_cast<size_t>(row) % kRows.size()];
  return kind.mean + kind.deviation * noise(row, column);
}

struct LayerNorm {
  ValueId root = kNone, value = kNone;
  ValueId gamma = kNone, beta = kNone;  // kNone: 1 and 0
  double epsilon = 0;
};

// The first row kind in which the value is not this layer_norm, or nothing.
std::optional<size_t> first_difference(const Network& network, const RegionValues& numbers, const std::vector<float>& values,
                                       const LayerNorm& norm, bool centred = true) {
  const auto at = [&](ValueId vector, int64_t column, double fallback) {
    return vector == kNone ? fallback : element(network.value(vector).constant->view(), column);
  };
  for (int64_t row = 0; row < numbers.rows; ++row) {
    const float* x = numbers.root.data() + row * numbers.columns;
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < numbers.columns; ++i) mean += x[i] / static_cast<double>(numbers.columns);
    if (!centred) mean = 0;
    for (int64_t i = 0; i < numbers.columns; ++i) variance += std::pow(x[i] - mean, 2) / static_cast<double>(numbers.columns);
    for (int64_t i = 0; i < numbers.columns; ++i) {
      const double gamma = at(norm.gamma, i, 1);
      const double expected = (x[i] - mean) / std::sqrt(variance + norm.epsilon) * gamma + at(norm.beta, i, 0);
      const double actual = values[static_cast<size_t>(row * numbers.columns + i)];
      if (!(std::fabs(actual - expected) <= kTolerance * (std::fabs(gamma) + std::fabs(expected))))
        return static_cast<size_t>(row) % kRows.size();
    }
  }
  return std::nullopt;
}

struct Search {
  std::optional<LayerNorm> found;
  std::string reason;  // of a near-miss
};

// Tries the constants between root and value as gamma, beta and epsilon.
void try_constants(const Network& network, const RegionValues& numbers, const std::vector<float>& values, ValueId root,
                   ValueId value, Search& search) {
  std::vector<ValueId> vectors = {kNone};
  std::vector<double> epsilons;
  for (ValueId constant : constants_between(network, root, value)) {
    const Value& known = network.value(constant);
    if (const auto number = scalar(network, constant)) {
      if (is_float(known.dtype) && *number > 0 && *number < 0.1) epsilons.push_back(shortest_decimal(*number));
    } else if (is_float(known.dtype) && known.constant->shape.elements() == numbers.columns &&
               known.shape.back() == Dim(numbers.columns)) {
      vectors.push_back(constant);
    }
  }
  if (epsilons.empty()) epsilons.push_back(0);
  if (vectors.size() > 3) return;
  for (double epsilon : epsilons) {
    for (ValueId gamma : vectors) {
      for (ValueId beta : vectors) {
        if (vectors.size() == 3 && (gamma == kNone || beta == kNone || gamma == beta)) continue;
        const LayerNorm norm{root, value, gamma, beta, epsilon};
        const auto difference = first_difference(network, numbers, values, norm);
        if (!difference) {
          search.found = norm;
          return;
        }
        if (*difference == kLargeMean) {
          search.reason = fmt::format(
              "it is layer_norm with epsilon {}, but for rows of a large mean: its variance, E[x^2] - E[x]^2, loses its digits "
              "there",
              epsilon);
        } else if (!first_difference(network, numbers, values, norm, false)) {
          search.reason = "it divides by the root of the mean square (RMS norm): no mean is subtracted";
        }
      }
    }
  }
}

Search find(const Network& network, const Node& reduction) {
  Search search;
  for (ValueId root : possible_roots(network, reduction.input(0), is_row_wise)) {
    const SymbolicShape& shape = network.value(root).shape;
    if (network.value(root).dtype != DType::f32 || shape.empty() || !shape.back().is_fixed() || shape.back().size < 2) continue;
    const Region region = region_from(network, root, is_row_wise);
    if (std::find(region.values.begin(), region.values.end(), reduction.outputs[0]) == region.values.end()) continue;
    const RegionValues numbers = run_region(network, region, static_cast<int64_t>(kRows.size()), fill);
    for (size_t i = region.values.size(); i-- > 0 && !numbers.values.empty();) {
      if (numbers.values[i].empty() || !(network.value(region.values[i]).shape == shape)) continue;
      try_constants(network, numbers, numbers.values[i], root, region.values[i], search);
      if (search.found) return search;
    }
  }
  return search;
}

// gamma or beta as the op takes it: a vector [E].
ValueId vector_of(Network& network, ValueId constant, int64_t extent, float fallback, const std::string& name) {
  if (constant == kNone) {
    return network.add_constant(name,
                                Tensor::from_floats(Shape{extent}, std::vector<float>(static_cast<size_t>(extent), fallback)));
  }
  const Value& value = network.value(constant);
  if (value.shape.size() == 1) return constant;
  Tensor tensor = *value.constant;
  tensor.shape = Shape{extent};
  return network.add_constant(value.name, tensor);
}

}  // namespace

void fuse_layer_norm(Network& network, const PassOptions&, PassLog& log) {
  for (NodeId id : network.order()) {
    // An epsilon that came through a float32 attribute is the decimal that it was.
    if (network.node(id).op != "layer_norm") continue;
    const double epsilon = network.node(id).real("epsilon");
    network.mutable_node(id).attributes["epsilon"] = shortest_decimal(epsilon);
  }
  for (NodeId id : network.order()) {
    const Node reduction = network.node(id);
    const bool averages = is_function(&reduction, "reduce", "mean") || is_function(&reduction, "reduce", "sum");
    if (!averages || !over_last_axis(network, reduction)) continue;
    const Search search = find(network, reduction);
    if (!search.found) {
      if (!search.reason.empty()) log.refused("{}: {}", reduction.name, search.reason);
      continue;
    }
    const LayerNorm& norm = *search.found;
    const int64_t extent = network.value(norm.root).shape.back().size;
    log.matched("{} -> layer_norm epsilon={}", fmt::join(names_between(network, norm.root, norm.value), " + "), norm.epsilon);
    const std::string name = take_name(network, norm.value);
    const ValueId gamma = vector_of(network, norm.gamma, extent, 1, name + ".gamma");
    const ValueId beta = vector_of(network, norm.beta, extent, 0, name + ".beta");
    network.replace_uses(norm.value, network.add_layer_norm(norm.root, gamma, beta, norm.epsilon, name));
    network.remove_dead_nodes();
  }
}

}  // namespace bertie
