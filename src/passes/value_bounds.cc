#include "passes/value_bounds.h"

#include <cmath>

#include "network/element.h"
#include "network/linear_skip_layer_norm.h"
#include "passes/pass.h"

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

}  // namespace

std::optional<std::vector<double>> ValueBounds::of(ValueId value) {
  const auto [known, fresh] = known_.try_emplace(value);
  if (!fresh) return known->second;
  const Node* node = producer(network_, value);
  if (!node || node->outputs[0] != value) return std::nullopt;
  std::optional<std::vector<double>> bounds = of_layer_norm(*node);
  if (!bounds) bounds = of_linear(*node);
  const bool within = node->op == "gather_rows" || node->op == "pack_rows" || node->op == "gelu" ||
                      (node->op == "pool" && node->text("mode") != "mean_sqrt_length");
  if (!bounds && within) bounds = of(node->input(0));
  if (!bounds && node->op == "attention") {
    const bool packed = node->integer("packed_qkv") != 0;
    bounds = of(node->input(packed ? 0 : 2));
    if (bounds && packed) bounds->erase(bounds->begin(), bounds->end() - static_cast<ptrdiff_t>(bounds->size() / 3));
  }
  return known_[value] = bounds;
}

std::optional<std::vector<double>> ValueBounds::of_layer_norm(const Node& node) {
  const std::optional<Normalization> rows = normalization(network_, node);
  if (!rows) return std::nullopt;
  std::vector<double> bounds(static_cast<size_t>(rows->gamma->shape[0]));
  const double most = std::sqrt(static_cast<double>(bounds.size()));
  for (size_t k = 0; k < bounds.size(); ++k)
    bounds[k] = most * std::abs(element(rows->gamma->view(), static_cast<int64_t>(k))) +
                std::abs(element(rows->beta->view(), static_cast<int64_t>(k)));
  return bounds;
}

std::optional<std::vector<double>> ValueBounds::of_linear(const Node& node) {
  if (node.op != "linear") return std::nullopt;
  const Value& weight = network_.value(node.input(1));
  const Tensor* bias = nullptr;
  if (node.input(2) != kNone) {
    if (!network_.value(node.input(2)).constant) return std::nullopt;
    bias = &*network_.value(node.input(2)).constant;
  }
  if (!weight.constant) return std::nullopt;
  const Node* before = producer(network_, node.input(0));
  const std::optional<Normalization> rows = before ? normalization(network_, *before) : std::nullopt;
  const std::optional<std::vector<double>> x = of(node.input(0));
  if (!x) return std::nullopt;
  std::vector<double> gamma, beta;
  for (size_t k = 0; rows && k < x->size(); ++k) {
    gamma.push_back(element(rows->gamma->view(), static_cast<int64_t>(k)));
    beta.push_back(element(rows->beta->view(), static_cast<int64_t>(k)));
  }
  std::vector<double> bounds(static_cast<size_t>(weight.constant->shape[0]));
  rows_.for_each(weight.constant->row_major(), false, [&](int64_t n, std::span<const float> row) {
    double within = 0, squares = 0, centre = bias ? element(bias->view(), n) : 0;
    for (size_t k = 0; k < row.size(); ++k) {
      if (rows) {
        squares += row[k] * gamma[k] * (row[k] * gamma[k]);
        centre += row[k] * beta[k];
      } else {
        within += std::abs(row[k]) * (*x)[k];
      }
    }
    bounds[static_cast<size_t>(n)] =
        std::abs(centre) + within + std::sqrt(squares * static_cast<double>(row.size()));  // one of the two is 0
  });
  return bounds;
}

}  // namespace bertie
