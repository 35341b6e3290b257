// Runs a packed network on a device: one copy there, one recorded graph of work, one copy back, one wait.
//
// Work is recorded for capacities (buckets.h): extents are theirs, what is live of them is read from the device's memory, so that one
// graph serves every batch of its bucket, however its tokens are cut into sequences. A bucket's first batch runs without a graph, its
// second is recorded; graphs unused for long make room for others.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "engine/device_batch.h"
#include "engine/engine_run.h"

namespace bertie {

class DeviceRun final : public EngineRun {
 public:
  // Throws Error(out_of_memory) naming what was wanted and what there is.
  DeviceRun(const Engine::Impl& engine, const SessionLimits& limits);
  ~DeviceRun() override;
  // Throws Error(unsupported) naming the step that overflowed in 16 bits; outputs are then those of no run.
  void run(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times) override;
  std::vector<double> device_times(const PackedBatch& batch, std::span<const TensorView> inputs, int runs) override;
  TensorView output(ValueId value) const override;
  size_t bytes() const override { return arena_.bytes() + staging_.bytes() + results_.bytes(); }

  static constexpr size_t kMostGraphs = 192;  // kept at most

 private:
  // What recorded work depends on.
  struct Capacity {
    int64_t tokens = 0, sequences = 0, rows = 0;
    bool columns = false, queries_only = false;
    std::array<int64_t, TileLists::kMost> tiles{};      // one a list
    auto operator<=>(const Capacity&) const = default;  // NOLINT(modernize-use-nullptr)
  };
  // Where the parts of a batch lie behind the start of the staging memory, here and on the device.
  struct Layout {
    size_t cumulative_lengths = 0, columns = 0, queries_only = 0;
    std::vector<size_t> tiles, inputs;  // one a list, one a network input
    size_t bytes = 0;
  };
  struct Work {
    Layout layout;
    std::unique_ptr<DeviceGraph> graph;  // nullptr: not recorded yet
    uint64_t last_run = 0;
  };
  void plan_arena();
  Capacity capacity_of(const PackedBatch& batch) const;
  Layout layout_of(const Capacity& capacity) const;
  PackedBatch extents_of(const Capacity& capacity) const;
  void stage(const Layout& layout, const Capacity& capacity, const PackedBatch& batch, std::span<const TensorView> inputs);
  // The batch's work, made where it is not known yet; the batch is in the staging memory then.
  std::pair<Work&, bool> prepare(const PackedBatch& batch, std::span<const TensorView> inputs);
  // Puts everything on the stream; with a timeline, marked after each step.
  void enqueue(const Capacity& capacity, const Layout& layout, Timeline* timeline, bool check_results = false);
  void enqueue_steps(const Capacity& capacity, const Layout& layout, Timeline* timeline, bool check_results);
  void enqueue_step(size_t index, const PackedBatch& extents, const Capacity& capacity, const Layout& layout, bool check_results);
  [[noreturn]] void find_overflow(const Layout& layout);
  template <typename Enqueue>
  std::unique_ptr<DeviceGraph> record(Enqueue enqueue);
  void make_room();
  void report(std::span<const TensorView> inputs, std::span<StepTime> times) const;

  const Engine::Impl& engine_;
  PackedBatch most_;   // capacities that memory was planned for
  PackedBatch batch_;  // of the last run
  TileLists lists_;
  std::unique_ptr<Stream> stream_;
  DeviceBuffer arena_;    // the staged batch, activations, kernels' workspace
  DeviceBuffer staging_;  // pinned: the batch
  DeviceBuffer results_;  // pinned: the counts, then the outputs
  std::byte* values_ = nullptr;
  std::span<std::byte> workspace_;
  std::vector<size_t> offsets_;         // of values in the arena
  std::vector<size_t> result_offsets_;  // of network outputs
  std::unique_ptr<Timeline> timeline_;
  std::map<Capacity, Work> works_;
  Capacity wanted_;  // of the batch
  uint64_t runs_ = 0;
};

}  // namespace bertie
