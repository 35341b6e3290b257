// What a backend offers: kernels that each take a step of the network or refuse it with a reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "backend/device.h"
#include "base/thread_pool.h"
#include "bertie/network.h"
#include "bertie/tensor.h"

namespace bertie {

// The packed batch under execution: which rows of a [T, ...] tensor belong to which sequence.
struct PackedBatch {
  int64_t tokens = 0;                           // T
  int64_t sequences = 0;                        // B
  int64_t longest = 0;                          // S
  int64_t rows = 0;                             // R
  const int32_t* cumulative_lengths = nullptr;  // [B+1], from 0 to T
  const int32_t* columns = nullptr;             // [T] place of each token in its padded row; nullptr: 0, 1, ... in each sequence
  const int32_t* queries_only = nullptr;        // [B] rows at the start of each sequence that no row attends to; nullptr: none

  // The first row of a sequence that is attended to, or its end.
  int64_t first_key(int64_t sequence) const { return cumulative_lengths[sequence] + (queries_only ? queries_only[sequence] : 0); }
};

// Upper bounds of PackedBatch that a session is planned for.
struct BatchLimits {
  int64_t tokens = 0;
  int64_t sequences = 0;
  int64_t longest = 0;
  int64_t rows = 0;
};

// Queries of one sequence with the keys they attend to: the rows of packed tensors that one block of an attention kernel works on.
struct QueryTile {
  int32_t query_begin, query_count;  // rows of the output
  int32_t key_begin, key_count;
};

// What kernels of a device are given besides: numbers and lists in its memory. There the extents of PackedBatch and of all tensors are
// capacities, for which the work was put on the stream, perhaps recorded; how much of them a run uses is read from here.
struct DeviceBatch {
  Stream& stream;
  const int32_t* tokens;     // how many there are
  const int32_t* sequences;  // likewise
  const int32_t* rows;       // likewise
  const QueryTile* tiles;    // of attention alone, of Kernel::query_block() queries at most; [tile_capacity]
  int64_t tile_capacity;
  const int32_t* tile_count;
  int32_t* overflow;           // a step that writes what 16 bits cannot hold puts min(*overflow, step) here
  int32_t step;                // this one's place
  bool check_results = false;  // look for what 16 bits could not hold in every result, also where a step does not by itself
};

struct KernelContext {
  std::span<const TensorView> inputs;  // as the node's; one left out has null data
  std::span<const MutableTensorView> outputs;
  const PackedBatch& batch;
  std::span<std::byte> workspace;  // 64-byte aligned (256 on a device), at least workspace_bytes(limits)
  ThreadPool& pool;
  const DeviceBatch* device = nullptr;  // on a device: run() puts its work on the stream, and does not wait for it
};

// One prepared step. Immutable after preparation: run() may be called from several sessions at once.
class Kernel {
 public:
  virtual ~Kernel() = default;
  // Allocates nothing and does not throw, as everything was checked when the step was prepared; save for an index that only the run can
  // tell to be outside its axis: Error(invalid_argument), on the calling thread, before any output is relied upon; and of a
  // plugin's code: Error(plugin_failed).
  virtual void run(const KernelContext& context) const = 0;
  // Scratch that run() needs for any batch within the limits, shared by all threads of the pool.
  virtual size_t workspace_bytes(const BatchLimits&, int /*threads*/) const { return 0; }
  // As workspace_bytes, for one run's inputs: a padded tensor's extents stand in no limits.
  virtual size_t run_workspace_bytes(const BatchLimits& limits, std::span<const TensorView> /*inputs*/, int threads) const {
    return workspace_bytes(limits, threads);
  }
  // Whether run() still reads the bytes of constant input `index` (false where they were packed).
  virtual bool reads_constant(size_t /*index*/) const { return true; }
  virtual size_t packed_bytes() const { return 0; }  // memory the kernel owns
  // How an output's elements lie in memory: on a device, and by pass keep_bf16_rows, 16 bits may stand for what the network says is f32.
  virtual DType stored(size_t /*output*/, DType declared) const { return declared; }
  // On a device, queries of one QueryTile; 0: it asks for none.
  virtual int64_t query_block() const { return 0; }
};

struct KernelRequest {
  const Network& network;
  const Node& node;
  ThreadPool& pool;               // for packing weights
  std::string_view variant = {};  // the entry's; empty: the one in use
  bool by_timing = false;         // offered beside the kernel that the rules prefer: only what cannot be done is refused
  std::shared_ptr<Device> device = nullptr;  // of the backends that have one
  std::span<const DType> stored = {};        // how each value lies in memory, by its id
};

struct Refusal {
  std::string reason;  // empty: nothing to tell, as the step was never meant for this kernel
};
struct Preparation {
  std::unique_ptr<Kernel> kernel;
  std::string reason;  // why this kernel suits, one phrase for `inspect`
};
using PrepareResult = std::variant<Preparation, Refusal>;

struct KernelEntry {
  std::string_view op;    // the op's file stem
  std::string_view name;  // "cpu_avx512_f32_linear"
  PrepareResult (*prepare)(const KernelRequest&);
  bool reads_panels = false;              // takes constants in panels (TensorLayout); other kernels are given row-major copies
  std::string_view portable_name = name;  // "cpu_f32_linear": without the instruction set
  std::string_view variant = {};          // of several builds of one kernel: the instruction set
};

// What a backend's kernels compute in.
struct Precision {
  std::string_view name;     // EngineOptions::precision
  bool linear_only = false;  // linear layers alone; what lies between them: Target::float_precision
};

// Kernels in the order in which they are asked.
struct Backend {
  std::string_view name;
  std::span<const KernelEntry> (*kernels)();
  // More that could take a step with the same bits, offered where kernels are chosen by timing; nullptr: none.
  std::span<const KernelEntry> (*alternatives)() = nullptr;
  // What kernels' times depend on: "avx2 avx512"; nullptr: nothing is timed.
  std::string (*hardware)() = nullptr;
  // The device of this name, "cuda" or "cuda:1"; nullptr: kernels run on the CPU. Throws Error(unsupported) saying why there is none.
  std::shared_ptr<Device> (*open)(std::string_view name) = nullptr;
  // Whether kernels run on the device that is open: they are given its memory, and put work on its stream.
  bool on_device = false;
  // The default first. On a CPU those of this machine; on a device all that some device has. nullptr: whatever a node wants.
  std::span<const Precision> (*precisions)() = nullptr;
  // Whether the device of this name has a kernel of linear_skip_layer_norm for so many columns and bytes of depth, results in 16 bits (pass
  // fuse_linear_layer_norm); nullptr: none has. Throws as `open`.
  bool (*fuses_linear_layer_norm)(std::string_view device, int64_t columns, int64_t depth_bytes) = nullptr;
};

}  // namespace bertie
