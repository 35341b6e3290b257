#include "engine/device_batch.h"

#include <algorithm>

#include "base/error.h"

namespace bertie {

TileLists::TileLists(const Engine::Impl& engine) {
  const Network& network = engine.network;
  const auto network_inputs = network.inputs();
  for (const EngineStep& step : engine.steps) {
    of_step_.push_back(SIZE_MAX);
    const int64_t block = step.kernel->query_block();
    if (block == 0) continue;
    const ValueId rows = network.node(step.node).input(5);
    const auto found = std::find(network_inputs.begin(), network_inputs.end(), rows);
    if (rows != kNone && found == network_inputs.end())
      fail(ErrorCode::unsupported, "attention '{}': its query rows are computed, not the batch's", network.node(step.node).name);
    const size_t input = rows == kNone ? SIZE_MAX : static_cast<size_t>(found - network_inputs.begin());
    const auto same =
        std::find_if(lists_.begin(), lists_.end(), [&](const List& list) { return list.input == input && list.block == block; });
    of_step_.back() = static_cast<size_t>(same - lists_.begin());
    if (same == lists_.end()) lists_.push_back({input, block, {}});
  }
  if (lists_.size() > kMost) fail(ErrorCode::unsupported, "attention: {} kinds of queries in one network", lists_.size());
}

void TileLists::list(const PackedBatch& batch, std::span<const TensorView> inputs) {
  for (List& list : lists_) {
    const std::span<const int32_t> rows =
        list.queries() == Queries::all
            ? std::span<const int32_t>()
            : std::span(inputs[list.input].as<int32_t>(), static_cast<size_t>(inputs[list.input].shape.elements()));
    list_tiles(batch, list.queries(), rows, list.block, list.tiles);
  }
}

BatchCounts counts_of(const PackedBatch& batch, const TileLists& lists) {
  BatchCounts counts{static_cast<int32_t>(batch.tokens),
                     static_cast<int32_t>(batch.sequences),
                     static_cast<int32_t>(batch.rows),
                     kNoOverflow,
                     {}};
  for (size_t i = 0; i < lists.size(); ++i) counts.tiles[i] = static_cast<int32_t>(lists[i].tiles.size());
  return counts;
}

DeviceBatch batch_of_step(Stream& stream, BatchCounts* counts, const TileLists& lists, size_t step,
                          std::span<const QueryTile> tiles, bool check_results) {
  const size_t list = lists.of_step(step);
  return {stream,
          &counts->tokens,
          &counts->sequences,
          &counts->rows,
          tiles.data(),
          static_cast<int64_t>(tiles.size()),
          list == SIZE_MAX ? nullptr : &counts->tiles[list],
          &counts->overflow,
          static_cast<int32_t>(step),
          check_results};
}

void fail_overflow(const StepInfo& step) {
  fail(ErrorCode::unsupported,
       "{} '{}': a result is too large for {}, or not a number: bf16 and fp32 hold more (--precision, or --layer-precision "
       "'{}=fp32')",
       step.op, step.name, step.precision, step.name);
}

}  // namespace bertie
