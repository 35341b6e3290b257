// Extents of packed tensors from a batch.
#pragma once

#include "backend/kernel.h"

namespace bertie {

// Where a run's extent comes from: "tokens", "rows", "batch"; nullptr: not from the batch.
int64_t PackedBatch::*extent_source(const Dim& dim);

// Every extent must be fixed or the batch's.
Shape shape_in(const PackedBatch& batch, const SymbolicShape& symbolic);
Shape shape_in(const BatchLimits& limits, const SymbolicShape& symbolic);

}  // namespace bertie
