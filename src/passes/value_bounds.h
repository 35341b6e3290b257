// What the columns of a value are, by the weights that it is made with, whatever the input: what magnitudes they can have at most, and about what
// mean and variance.
//
// At most: a layer norm gives gamma u + beta with |u| <= sqrt(N) (of deviations over their root mean square), so that its columns are within
// sqrt(N) |gamma| + |beta|, and what a linear layer makes of them, by Cauchy and Schwarz, within sqrt(N) |w gamma| + |w beta + b|. No activation
// of a linear layer takes anything beyond its argument, and attention gives means of v.
//
// Moments, as if columns were independent of one another and normal: u has mean 0 and variance 1, a linear layer makes mean w mean + b and variance
// sum of w^2 variance, and an activation those of its function of a normal number. Attention's are v's: means over keys vary less, by how much the
// texts decide.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bertie/network.h"
#include "passes/weight_rows.h"

namespace bertie {

struct ColumnBounds {
  std::vector<double> largest;  // magnitudes
  std::vector<double> mean, variance;
};

class ValueBounds {
 public:
  ValueBounds(const Network& network, WeightRows& rows) : network_(network), rows_(rows) {}

  // By column; nullptr where the weights do not tell. Stays while this does.
  const ColumnBounds* of(ValueId value);

 private:
  std::optional<ColumnBounds> found(ValueId value);
  std::optional<ColumnBounds> of_linear(const Node& node);

  const Network& network_;
  WeightRows& rows_;
  std::map<ValueId, std::optional<ColumnBounds>> known_;
};

// Mean and variance of what `activation`, one of linear's, makes of a normal number. By a sum at 49 points up to six standard deviations away: GELU's
// to four digits, beyond deviations of 4 to two, which is enough to weigh columns by.
std::pair<double, double> moments_behind(const std::string& activation, double mean, double variance);

}  // namespace bertie
