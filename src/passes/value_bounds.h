// What magnitudes the columns of a value can have at most, by the weights that it is made with, whatever the input. A layer norm gives
// gamma u + beta with |u| <= sqrt(N) (of deviations over their root mean square), so that its columns are within sqrt(N) |gamma| + |beta|,
// and what a linear layer makes of them, by Cauchy and Schwarz, within sqrt(N) |w gamma| + |w beta + b|. GELU takes nothing beyond its
// argument, and attention gives means of v.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "bertie/network.h"
#include "passes/weight_rows.h"

namespace bertie {

class ValueBounds {
 public:
  ValueBounds(const Network& network, WeightRows& rows) : network_(network), rows_(rows) {}

  // By column; nothing where the weights do not tell.
  std::optional<std::vector<double>> of(ValueId value);

 private:
  std::optional<std::vector<double>> of_layer_norm(const Node& node);
  std::optional<std::vector<double>> of_linear(const Node& node);

  const Network& network_;
  WeightRows& rows_;
  std::map<ValueId, std::optional<std::vector<double>>> known_;
};

}  // namespace bertie
