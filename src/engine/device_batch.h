// What kernels of a device are told of a batch besides its tensors: counts, and the tiles of attention.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine_impl.h"
#include "engine/query_tiles.h"

namespace bertie {

// Lists of QueryTiles, one for each kind of queries: shared by all attention steps of the same queries.
class TileLists {
 public:
  static constexpr size_t kMost = 12;
  // Throws Error(unsupported) where there are more kinds, or query rows that are no network input.
  explicit TileLists(const Engine::Impl& engine);

  struct List {
    size_t input;  // the network input that names the query rows; SIZE_MAX: all rows
    int64_t block;
    std::vector<QueryTile> tiles;  // of the batch
    Queries queries() const { return input == SIZE_MAX ? Queries::all : Queries::rows; }
  };
  size_t size() const { return lists_.size(); }
  List& operator[](size_t index) { return lists_[index]; }
  const List& operator[](size_t index) const { return lists_[index]; }
  size_t of_step(size_t step) const { return of_step_[step]; }  // SIZE_MAX: it asks for none

  // `inputs`: the run's, one a network input.
  void list(const PackedBatch& batch, std::span<const TensorView> inputs);

 private:
  std::vector<List> lists_;
  std::vector<size_t> of_step_;
};

// The head of the staged batch, and of what comes back.
struct BatchCounts {
  int32_t tokens, sequences, rows;
  int32_t overflow;  // the first step that overflowed
  int32_t tiles[TileLists::kMost];
};
inline constexpr int32_t kNoOverflow = INT32_MAX;

BatchCounts counts_of(const PackedBatch& batch, const TileLists& lists);

// What the kernel of a step is given. `counts` and `tiles` (those of its list, none where it asks for none) lie on the device.
DeviceBatch batch_of_step(Stream& stream, BatchCounts* counts, const TileLists& lists, size_t step,
                          std::span<const QueryTile> tiles, bool check_results);

// Where pieces of what is staged, and of a device's memory, begin.
inline constexpr size_t kDeviceAlignment = 256;
inline size_t device_aligned(size_t bytes) { return (bytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment; }

// Throws Error(unsupported) saying that this step's result is too large for its precision.
[[noreturn]] void fail_overflow(const StepInfo& step);

}  // namespace bertie
