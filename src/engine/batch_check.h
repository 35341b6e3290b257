// What a batch must be before any kernel sees it.
#pragma once

#include "bertie/engine.h"
#include "engine/engine_impl.h"

namespace bertie {

// Throws Error(limit_exceeded, invalid_argument) naming the limit or the place.
void check_batch(const Batch& batch, const SessionLimits& limits, const Engine::Impl& engine);

int64_t longest_sequence(const Batch& batch);

// Writes the position of every token by the rule; `positions` has at least T entries.
void fill_positions(const Batch& batch, const PositionRule& rule, std::span<int32_t> positions);

}  // namespace bertie
