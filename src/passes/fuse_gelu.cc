// GELU, SiLU, ReLU and the sigmoid from pieces: a chain of unary and elementwise nodes with scalar constants is a function of one number,
// and is run on numbers from -8 to 8. It is taken for the function that it agrees with within 5e-5 everywhere: enough for constants
// written with four digits or in half precision, and a tenth of what tells GELU's erf from its tanh form.
#include <algorithm>
#include <array>
#include <cmath>

#include "passes/match.h"
#include "passes/pass.h"
#include "passes/region.h"
#include "reference/kernel.h"

namespace bertie {
namespace {

constexpr double kTolerance = 5e-5;
constexpr int64_t kSamples = 129;  // -8, -7.875, ..., 8
constexpr std::array<std::string_view, 5> kFunctions = {"gelu", "gelu_tanh", "silu", "relu", "sigmoid"};

// ReLU has no constant that could be rounded: a clip at 1e-12 is none.
double tolerance(std::string_view function) { return function == "relu" ? 0 : kTolerance; }

double sample(int64_t index) { return static_cast<double>(index % kSamples - kSamples / 2) / 8; }

bool is_pointwise(const Network& network, const Node& node) {
  if (network.value(node.outputs[0]).dtype != DType::f32) return false;
  if (node.op != "unary" && node.op != "elementwise" && node.op != "clip") return false;
  return std::all_of(node.inputs.begin(), node.inputs.end(),
                     [&](ValueId input) { return input == kNone || scalar(network, input) || !is_constant(network, input); });
}

// Whether some spelled-out function begins at this node: each has one that is not plain arithmetic.
bool is_core(const Network& network, const Node& node) {
  if (!is_pointwise(network, node)) return false;
  if (node.op == "unary") {
    const std::string function = node.text("function");
    return function == "erf" || function == "tanh" || function == "sigmoid" || function == "exp";
  }
  return node.op == "clip" || is_function(&node, "elementwise", "max");
}

struct Distance {
  double largest = 0;
  double at = 0;  // the x of it
};

Distance distance(const RegionValues& numbers, const std::vector<float>& values, std::string_view function) {
  const auto truth = reference::scalar_function(function);
  Distance found;
  for (size_t i = 0; i < values.size(); ++i) {
    const double x = numbers.root[i];
    const double error = std::fabs(static_cast<double>(values[i]) - truth(x));
    if (!(error <= found.largest)) found = {std::isnan(error) ? HUGE_VAL : error, x};
  }
  return found;
}

struct Match {
  ValueId root = kNone;
  ValueId value = kNone;
  std::string_view function;
};

struct NearMiss {
  ValueId root = kNone;
  ValueId value = kNone;
  std::string_view function;
  Distance distance = {HUGE_VAL, 0};
};

// The largest part around the core that is one of the functions; else, the nearest miss.
std::optional<Match> find(const Network& network, const Node& core, NearMiss& nearest) {
  for (ValueId root : possible_roots(network, core.outputs[0], is_pointwise)) {
    if (root == core.outputs[0] || network.value(root).dtype != DType::f32) continue;
    const Region region = region_from(network, root, is_pointwise);
    if (std::find(region.values.begin(), region.values.end(), core.outputs[0]) == region.values.end()) continue;
    const SymbolicShape& shape = network.value(root).shape;
    const int64_t columns = shape.empty() || !shape.back().is_fixed() ? 1 : std::max<int64_t>(shape.back().size, 1);
    const RegionValues numbers = run_region(network, region, (kSamples + columns - 1) / columns,
                                            [&](int64_t row, int64_t column) { return sample(row * columns + column); });
    for (size_t i = region.values.size(); i-- > 0;) {
      const Node& last = *producer(network, region.values[i]);
      if (numbers.values.empty() || numbers.values[i].empty() ||
          !(network.value(region.values[i]).shape == network.value(root).shape))
        continue;
      if (last.op == "unary" && last.text("function") != "neg" && last.inputs[0] == root) continue;  // already one op
      for (std::string_view function : kFunctions) {
        const Distance found = distance(numbers, numbers.values[i], function);
        if (found.largest <= tolerance(function)) return Match{root, region.values[i], function};
        if (found.largest < nearest.distance.largest && function != "relu") nearest = {root, region.values[i], function, found};
      }
    }
  }
  return std::nullopt;
}

ValueId add_function(Network& network, const Match& match) {
  const std::string name = take_name(network, match.value);
  if (match.function == "gelu") return network.add_gelu(match.root, "none", name);
  if (match.function == "gelu_tanh") return network.add_gelu(match.root, "tanh", name);
  return network.add_unary(std::string(match.function), match.root, name);
}

}  // namespace

void fuse_gelu(Network& network, const PassOptions&, PassLog& log) {
  constexpr double kNear = 0.1;  // farther than this it was not meant to be one
  for (NodeId id : network.order()) {
    const Node core = network.node(id);
    if (core.op.empty() || !is_core(network, core)) continue;
    NearMiss nearest;
    const auto match = find(network, core, nearest);
    if (!match) {
      if (nearest.distance.largest < kNear) {
        log.refused("{}: differs from {} by {:.2g} at x = {}",
                    fmt::join(names_between(network, nearest.root, nearest.value), " + "), nearest.function,
                    nearest.distance.largest, nearest.distance.at);
      }
      continue;
    }
    log.matched("{} -> {}", fmt::join(names_between(network, match->root, match->value), " + "), match->function);
    network.replace_uses(match->value, add_function(network, *match));
    network.remove_dead_nodes();
  }
}

}  // namespace bertie
