// A place for each value that a step of a planned run writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/batch_shape.h"
#include "engine/engine_impl.h"

namespace bertie {

struct PlannedValues {
  std::vector<size_t> offsets;  // by value; SIZE_MAX: no step writes it
  size_t bytes = 0;
};
// Places that hold the values of batches up to `limits`, each a multiple of `alignment`.
PlannedValues plan_values(const Engine::Impl& engine, const PackedBatch& limits, size_t alignment);

}  // namespace bertie
