// Recognition by meaning: a part of the network that is a function of one value is run on chosen numbers and compared with the op it
// may be a spelling of. Whatever the order of its factors and however its constants are written, the numbers tell.
#pragma once

#include <functional>
#include <set>
#include <span>
#include <vector>

#include "bertie/network.h"

namespace bertie {

// Values that depend on `root` and constants alone, producers first.
struct Region {
  ValueId root = kNone;
  std::vector<ValueId> values;
};

using AllowedNode = std::function<bool(const Network&, const Node&)>;

// Whether a reduction is over the last axis alone.
bool over_last_axis(const Network& network, const Node& node);
// Whether each row of the result, rows being the last axis, depends on that row of the inputs alone.
bool is_row_wise(const Network& network, const Node& node);

// Grows down from `root` through nodes that `allowed` takes.
Region region_from(const Network& network, ValueId root, const AllowedNode& allowed);

// `value`, and what it is made of through nodes that `allowed` takes, nearest first: where a region with it may begin.
std::vector<ValueId> possible_roots(const Network& network, ValueId value, const AllowedNode& allowed);

// The f32 numbers of each region value for a root filled by `fill(row, column)`, rows being the last axis. At least `rows` of them
// where an extent of the root is open.
struct RegionValues {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> root;
  std::vector<std::vector<float>> values;  // as Region::values; empty for those that are not of the root's shape and f32
};
RegionValues run_region(const Network& network, const Region& region, int64_t rows,
                        const std::function<double(int64_t row, int64_t column)>& fill);

// Names of the nodes between the root and `value`, in order.
std::vector<std::string> names_between(const Network& network, ValueId root, ValueId value);
// The constants among them.
std::vector<ValueId> constants_between(const Network& network, ValueId root, ValueId value);

// Deterministic numbers of mean 0 and deviation about 1.
double noise(int64_t row, int64_t column);

// What a float was written as: 1e-12, not 9.999999960041972e-13.
double shortest_decimal(double value);

}  // namespace bertie
