// Linear layers that give some of another's columns: the weights' rows are taken instead of the product's columns.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bertie/network.h"

namespace bertie {

class LinearRows {
 public:
  explicit LinearRows(Network& network) : network_(network) {}

  // A `linear` without activation whose weight and bias are constants.
  static bool can_take(const Network& network, ValueId product);
  // A product of the same input by these rows of the weight alone. Rows in a run share the weight's bytes.
  ValueId take(ValueId product, const std::vector<int64_t>& rows, const std::string& name);

 private:
  ValueId rows_of(ValueId constant, const std::vector<int64_t>& rows);

  Network& network_;
  std::map<std::pair<ValueId, std::vector<int64_t>>, ValueId> taken_;  // layers that share weights share their parts
};

}  // namespace bertie
