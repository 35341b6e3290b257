// What row [b, s] of an op's result depends on, and how the op is written for packed rows. docs/design/padding.md lists the rules.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bertie/network.h"

namespace bertie {

// How a node that works on packed rows takes one of its inputs.
enum class RowUse {
  as_it_is,  // the same for every row
  row,       // row [b, s] for row [b, s]
  spread,    // an extent of 1 stands for all sequences or all columns
  sequence,  // the attended rows of sequence b: keys, values, what a pool combines
  first,     // row [b, 0], attended or not
  mask,      // the network's mask itself, which packed rows do not need
};

struct RowRule {
  std::string obstacle;      // why rows that are left out may change one that is kept; empty: they do not
  std::vector<RowUse> uses;  // one an input, where there is no obstacle
};

// [batch, sequence, ...]
bool has_rows(const Network& network, ValueId value);

// A float value that is made with weights, not from ids, masks and shapes alone: its padded rows mean nothing to anyone outside.
bool comes_from_encoder(const Network& network, ValueId value);

// The rule of a node that reads or makes rows. `mask` is the network's attention mask, kNone where no row is padding.
RowRule row_rule(const Network& network, const Node& node, ValueId mask);

// Rewrites a node without obstacle for packed rows: axes, permutations and shapes lose the batch's axis, masks go. `packed` gives the
// packed form of an input by its use.
void pack_node(Network& network, NodeId id, const RowRule& rule, const std::function<ValueId(ValueId, RowUse)>& packed);

}  // namespace bertie
