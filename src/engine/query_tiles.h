// The work list of attention kernels on a device.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/kernel.h"

namespace bertie {

// Which rows are queries: every row of the batch, or those that an input of the network names.
enum class Queries { all, rows };

// Replaces `tiles` by those of a batch: at most `block` queries of one sequence each, those with the most keys first. `rows`: the query
// rows, where only they are wanted; ascending.
void list_tiles(const PackedBatch& batch, Queries queries, std::span<const int32_t> rows, int64_t block,
                std::vector<QueryTile>& tiles);

// Upper bound of how many that are.
int64_t most_tiles(const BatchLimits& limits, Queries queries, int64_t rows, int64_t block);

}  // namespace bertie
