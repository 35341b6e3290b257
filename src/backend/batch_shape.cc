#include "backend/batch_shape.h"

#include <array>

namespace bertie {

int64_t PackedBatch::*extent_source(const Dim& dim) {
  if (dim.symbol == "tokens") return &PackedBatch::tokens;
  if (dim.symbol == "rows") return &PackedBatch::rows;
  if (dim.symbol == "batch") return &PackedBatch::sequences;
  return nullptr;
}

Shape shape_in(const PackedBatch& batch, const SymbolicShape& symbolic) {
  std::array<int64_t, Shape::kMaxRank> extents{};
  for (size_t i = 0; i < symbolic.size(); ++i)
    extents[i] = symbolic[i].is_fixed() ? symbolic[i].size : batch.*extent_source(symbolic[i]);
  return Shape(std::span<const int64_t>(extents.data(), symbolic.size()));
}

Shape shape_in(const BatchLimits& limits, const SymbolicShape& symbolic) {
  PackedBatch batch;
  batch.tokens = limits.tokens;
  batch.sequences = limits.sequences;
  batch.longest = limits.longest;
  batch.rows = limits.rows;
  return shape_in(batch, symbolic);
}

}  // namespace bertie
