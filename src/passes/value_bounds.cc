#include "passes/value_bounds.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "network/element.h"
#include "network/linear_skip_layer_norm.h"
#include "passes/pass.h"
#include "reference/kernel.h"

namespace bertie {
namespace {

// gamma and beta of a node that normalises rows and scales them.
struct Normalization {
  const Tensor *gamma = nullptr, *beta = nullptr;
};

std::optional<Normalization> normalization(const Network& network, const Node& node) {
  const size_t sources = node.op == "layer_norm"             ? 1
                         : node.op == "skip_layer_norm"      ? 2
                         : node.op == "embedding_layer_norm" ? 6
                         : is_linear_skip_layer_norm(node)   ? size_t{kLinearGamma}
                                                             : 0;
  if (sources == 0) return std::nullopt;
  const Value &gamma = network.value(node.input(sources)), &beta = network.value(node.input(sources + 1));
  if (!gamma.constant || !beta.constant) return std::nullopt;
  return Normalization{&*gamma.constant, &*beta.constant};
}

ColumnBounds of_layer_norm(const Normalization& rows) {
  const auto columns = static_cast<size_t>(rows.gamma->shape[0]);
  const double most = std::sqrt(static_cast<double>(columns));
  ColumnBounds bounds;
  for (size_t k = 0; k < columns; ++k) {
    const double gamma = element(rows.gamma->view(), static_cast<int64_t>(k));
    const double beta = element(rows.beta->view(), static_cast<int64_t>(k));
    bounds.largest.push_back(most * std::abs(gamma) + std::abs(beta));
    bounds.mean.push_back(beta);
    bounds.variance.push_back(gamma * gamma);
  }
  return bounds;
}

}  // namespace

std::pair<double, double> moments_behind(const std::string& activation, double mean, double variance) {
  if (activation == "none") return {mean, variance};
  const reference::ScalarFunction function = reference::scalar_function(activation);
  const double deviation = std::sqrt(variance);
  double weights = 0, sum = 0, squares = 0;
  for (int i = -24; i <= 24; ++i) {
    const double z = 0.25 * i, weight = std::exp(-z * z / 2), y = function(mean + deviation * z);
    weights += weight;
    sum += weight * y;
    squares += weight * y * y;
  }
  const double centre = sum / weights;
  return {centre, std::max(squares / weights - centre * centre, 0.0)};
}

const ColumnBounds* ValueBounds::of(ValueId value) {
  const auto [known, fresh] = known_.try_emplace(value);
  if (fresh) known->second = found(value);
  return known->second ? &*known->second : nullptr;
}

std::optional<ColumnBounds> ValueBounds::found(ValueId value) {
  const Node* node = producer(network_, value);
  if (!node || node->outputs[0] != value) return std::nullopt;
  if (const auto rows = normalization(network_, *node)) return of_layer_norm(*rows);
  if (node->op == "linear") return of_linear(*node);
  const bool packed = node->integer("packed_qkv") != 0;
  const bool within = node->op == "gather_rows" || node->op == "pack_rows" || node->op == "gelu" ||
                      (node->op == "pool" && node->text("mode") != "mean_sqrt_length");
  if (!within && node->op != "attention") return std::nullopt;
  const ColumnBounds* x = of(node->input(within || packed ? 0 : 2));
  if (!x) return std::nullopt;
  ColumnBounds bounds = *x;
  if (node->op == "gelu") {
    const std::string activation = node->text("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu";
    for (size_t k = 0; k < bounds.mean.size(); ++k)
      std::tie(bounds.mean[k], bounds.variance[k]) = moments_behind(activation, bounds.mean[k], bounds.variance[k]);
  }
  if (packed) {
    for (auto* columns : {&bounds.largest, &bounds.mean, &bounds.variance})
      columns->erase(columns->begin(), columns->end() - static_cast<ptrdiff_t>(columns->size() / 3));
  }
  return bounds;
}

std::optional<ColumnBounds> ValueBounds::of_linear(const Node& node) {
  const Value& weight = network_.value(node.input(1));
  const Tensor* bias = nullptr;
  if (node.input(2) != kNone) {
    if (!network_.value(node.input(2)).constant) return std::nullopt;
    bias = &*network_.value(node.input(2)).constant;
  }
  if (!weight.constant) return std::nullopt;
  const ColumnBounds* x = of(node.input(0));
  if (!x) return std::nullopt;
  const Node* before = producer(network_, node.input(0));
  const bool normalized = before && normalization(network_, *before);
  const std::string activation = node.text("activation", "none");
  const auto columns = static_cast<size_t>(weight.constant->shape[0]);
  ColumnBounds bounds{std::vector<double>(columns), std::vector<double>(columns), std::vector<double>(columns)};
  rows_.for_each(weight.constant->row_major(), false, [&](int64_t n, std::span<const float> row) {
    const double b = bias ? element(bias->view(), n) : 0;
    double within = 0, variance = 0, mean = b;
    for (size_t k = 0; k < row.size(); ++k) {
      const double w = row[k];
      variance += w * w * x->variance[k];
      mean += w * x->mean[k];
      within += std::abs(w) * x->largest[k];
    }
    const auto column = static_cast<size_t>(n);
    bounds.largest[column] =
        normalized ? std::abs(mean) + std::sqrt(variance * static_cast<double>(row.size())) : std::abs(b) + within;
    std::tie(bounds.mean[column], bounds.variance[column]) = moments_behind(activation, mean, variance);
  });
  return bounds;
}

}  // namespace bertie
