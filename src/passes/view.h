// The view algebra: which elements of a base value a value holds, where only reshapes, transposes, slices, squeezes, expansions
// and multiplications by a scalar lie between the two. Two spellings of one layout have the same view, so that passes match
// layouts, not spellings.
#pragma once

#include <optional>
#include <vector>

#include "bertie/network.h"

namespace bertie {

// `extent` steps of `stride` along one axis of the base.
struct Factor {
  static constexpr size_t kBroadcast = SIZE_MAX;  // as `axis`: the same element at each step
  size_t axis = 0;
  Dim extent = 1;
  Dim stride = 1;
  bool operator==(const Factor&) const = default;
};

struct View {
  ValueId base = kNone;
  // Of each axis of the value, in row-major order; none for extent 1. Neighbours that are one run of a base axis are merged.
  std::vector<std::vector<Factor>> axes;
  std::vector<int64_t> offsets;  // where the view starts along each axis of the base
  double scale = 1;              // what the base's elements are multiplied by
  std::vector<NodeId> nodes;     // between the two, the base's reader first
};

enum class Scaling { stop, pass };  // at multiplications and divisions by a scalar constant

View view_of(const Network& network, ValueId value, Scaling scaling);

// The whole base, axis by axis.
bool is_identity(const Network& network, const View& view);
// The whole base in its own order, whatever the extents.
bool is_reshape(const Network& network, const View& view);
// A factor that is a whole axis of the base.
bool is_whole_axis(const Network& network, const View& view, const std::vector<Factor>& factors, size_t axis);

// Replaces chains of view ops by their base, by one reshape or by one transpose where they come to that. Returns the names of the
// nodes that have become needless.
std::vector<std::string> simplify_views(Network& network);

}  // namespace bertie
