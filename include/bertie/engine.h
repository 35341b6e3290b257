// Engine: a network made ready to run on a device. Session: one stream of execution over it. Batch: what it runs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/calibration.h"
#include "bertie/network.h"
#include "bertie/tensor.h"

namespace bertie {

// Sequences packed end to end, without padding. The spans are the caller's and need only live through Session::run.
// T tokens, B sequences, R rows wanted from the head.
struct Batch {
  std::span<const int32_t> token_ids;           // [T]
  std::span<const int32_t> type_ids;            // [T], or empty: all 0
  std::span<const int32_t> position_ids;        // [T], or empty: by the network's position rule
  std::span<const int32_t> cumulative_lengths;  // [B+1]: sequence b is tokens [cumulative_lengths[b], cumulative_lengths[b+1])
  std::span<const int32_t> head_rows;           // [R] token rows, for engines built with `select_rows`; ascending, may repeat
  std::span<const int32_t> columns;             // [T] column of each token in its padded row where attended tokens have holes
                                                // between them; empty: 0, 1, 2, ... in each sequence
  // [B] tokens at the start of each sequence that are queries only: they attend to the tokens behind them, and none attends to
  // them. What a masked first column is where the network reads it by its place (CLS). Empty: none.
  std::span<const int32_t> queries_only;
};

// How long kernels take on steps, by machine, op and operands: for choosing among several that give the same result. May be
// shared between threads and engines.
class BERTIE_API KernelTimings {
 public:
  // Kept in the file `path`: what it holds now is known, and what is timed is added to it. Empty: kept in memory. A file
  // that is broken, or of another kind, counts as empty and is written anew: `problem` says what was wrong. Throws Error(io).
  explicit KernelTimings(const std::string& path = "");
  ~KernelTimings();
  KernelTimings(const KernelTimings&) = delete;
  KernelTimings& operator=(const KernelTimings&) = delete;

  const std::string& problem() const;  // one sentence naming the file; empty: none
  size_t size() const;                 // steps timed

  struct Impl;  // src/backend/kernel_timings.h
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// What the threads of an engine on the CPU do. The answers are the same bits.
enum class Mode {
  latency,     // all work on each run; runs of several sessions take turns, loop by loop
  throughput,  // each run is the calling thread's alone: as many sessions as threads, on as many callers, keep the machine busy
};

struct EngineOptions {
  // cpu, cuda (the first GPU), cuda:N, reference. Several GPUs, "cuda:0,cuda:1": the engine has a replica on each, with weights of its
  // own, and a new session goes where the fewest are.
  std::string device = "cpu";
  std::string precision = "fp32";  // what the device offers: see `devices()`
  // Of some steps another: "PATTERN=P", the pattern of names of steps (`Engine::steps`), where * is any text and ? any one
  // byte. The last that matches a step counts; each must match one. Eight bits are for linear layers, int8 for attention too.
  std::vector<std::string> layer_precision;
  // Scales of what linear layers in eight bits read, found beforehand; nullptr: a quantised file's, in fp8 what the weights allow, else each row's.
  std::shared_ptr<const Calibration> calibration;
  int threads = 0;            // 0: all usable CPUs
  Mode mode = Mode::latency;  // of a GPU it changes nothing
  // Keeps each thread of the engine on a CPU of its own, distinct cores first (hardware threads of one core last), and the thread that calls
  // a session's `run` on one until it returns: in throughput mode each session's caller on another. For machines that do little else: a
  // pinned thread does not make way for another program.
  bool pin = false;
  std::vector<std::string> outputs;  // network outputs wanted; empty: all
  // Outputs of which only Batch::head_rows are computed: [R, ...] in place of [T, ...]. Work that no wanted row needs is not
  // done, in the last layer too.
  std::vector<std::string> select_rows;
  std::vector<std::string> disabled_passes;
  // Where several kernels take a step: the fastest by these times, where they have any from a machine like this one.
  std::shared_ptr<KernelTimings> timings;
  bool tune = false;  // times the kernels of steps that `timings` does not know, and adds them
};

// One executed step, for `inspect` and profiles.
struct StepInfo {
  std::string name, op, kernel, device, precision, reason;
  std::string portable_name;  // the kernel's name without the instruction set: alike on every CPU
  std::string output_shape;   // "[tokens, 384]"
  std::string rows;           // "packed": the batch's tokens alone; "padded": whole rows of [batch, sequence]; empty: neither
  size_t weight_bytes = 0;    // as they run
};

// How sessions run an engine.
struct Execution {
  bool planned = false;  // in memory planned once, without allocation; otherwise step by step, with extents worked out in the run
  std::string reason;
};

struct PassReport {
  int number = 0;
  std::string name;
  int matches = 0;
  double milliseconds = 0;
  std::vector<std::string> lines;  // what matched and what it became; near-misses with the reason
};

// Upper bounds a session plans its memory for.
struct SessionLimits {
  int64_t tokens = 4096;
  int64_t sequences = 512;
  int64_t longest = 512;
  int64_t rows = 0;  // head rows; 0: as many as tokens
};

// Immutable; shared by any number of sessions and threads.
class BERTIE_API Engine {
 public:
  // Runs the passes, chooses a kernel for each step and packs the weights. Takes any batch and any length: no shape is
  // baked in. Throws Error(invalid_argument, not_found, unsupported).
  static std::shared_ptr<const Engine> build(const Network& network, const EngineOptions& options = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Network& network() const;  // after the passes
  std::span<const StepInfo> steps() const;
  std::span<const PassReport> passes() const;
  const EngineOptions& options() const;
  const Execution& execution() const;
  size_t weight_bytes() const;  // held for running, packed or mapped; of several devices, on each
  int threads() const;          // of all sessions together
  int replicas() const;         // devices that sessions are spread over, 1 as a rule
  // The times that decided among kernels, on this machine; nullptr where all was chosen by rule.
  std::shared_ptr<KernelTimings> timings() const;

  struct Impl;  // src/engine/engine_impl.h

 private:
  friend class Session;
  friend class TensorSession;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Model;
// Called now and then with the bytes written so far, from any thread; an Error that it throws ends the writing.
using SaveProgress = std::function<void(uint64_t done, uint64_t total)>;

// Writes an engine file (.bertie), which Model::load reads: the network after the passes, weights as the kernels read them,
// tokenizer, labels, pooling and how it was made (docs/design/engine-file.md). The file stands alone, appears whole or not at
// all, and is the same bytes from the same model on any x86-64 CPU. It holds all outputs: `options.outputs` and `select_rows`
// must be empty. Throws Error(io) where it cannot be written, and what Engine::build throws.
BERTIE_API void save_engine(const Model& model, const std::string& path, const EngineOptions& options = {},
                            const SaveProgress& progress = {});

struct StepTime {
  double milliseconds = 0;
  double flops = 0;
  double bytes = 0;  // weights and activations read and written once
  Shape output;      // of the step's first result in this run
};

// Owns its workspace; use it from one thread at a time.
class BERTIE_API Session {
 public:
  // Throws Error(unsupported) naming an input of the network that a Batch does not hold: TensorSession takes those.
  explicit Session(std::shared_ptr<const Engine> engine, const SessionLimits& limits = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // Allocates nothing where the engine's execution is planned. What runs padded is given [sequences, longest] tensors made from
  // the batch. Throws Error(limit_exceeded) naming the limit, Error(invalid_argument) for ids out of range or lengths
  // that do not add up; nothing is computed then. T = 0 and sequences of length 0 are fine.
  void run(const Batch& batch);

  // A network output of the last run, valid until the next: [T, ...], [R, ...] or [B, ...]; from what runs padded [B, S, ...].
  // Throws Error(not_found).
  TensorView output(std::string_view name) const;

  const SessionLimits& limits() const;
  const Engine& engine() const;
  size_t workspace_bytes() const;

  // Milliseconds that each of `runs` repeats of the batch's steps takes on a GPU, by its own events around one recorded graph: without
  // copies, and without the host. Empty where the engine runs on the CPU. `output` then gives those of no run. Throws as run.
  std::vector<double> device_times(const Batch& batch, int runs);

  // Times each step of further runs, and names it to a profiler that is attached (NVTX ranges on a GPU); `step_times` has one entry
  // a step, of the last run.
  void set_profiling(bool on);
  std::span<const StepTime> step_times() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A tensor by the name of a network's input or output.
struct NamedTensor {
  std::string name;
  Tensor tensor;
  std::string origin;  // what errors call it, a file perhaps; empty: its name
};

// Runs an engine on padded tensors, as ONNX names and shapes them, whatever of the network was packed. Use it from one thread at a
// time.
class BERTIE_API TensorSession {
 public:
  // Throws Error(unsupported) for an engine built with `select_rows`.
  explicit TensorSession(std::shared_ptr<const Engine> engine);
  ~TensorSession();
  TensorSession(TensorSession&&) noexcept;
  TensorSession& operator=(TensorSession&&) noexcept;

  struct Port {
    std::string name;
    DType dtype = DType::f32;
    SymbolicShape shape;  // as the network had it before the passes: "[batch, sequence, 384]"
  };
  std::span<const Port> inputs() const;
  std::span<const Port> outputs() const;
  // Whether the first axis of every input and output is that of sequences that do not influence one another: a large batch may then
  // be given in parts. `run` itself cuts it into groups.
  bool independent_sequences() const;

  // Every network output, in the network's order. Ids and masks may be of any integer dtype or bool, a mask of float too. Left out,
  // `attention_mask` is all ones, `token_type_ids` all zeros, and `position_ids` follow the network's position rule. Padded rows of
  // what the encoder computes for each token are zero, also its results for a sequence without any attended token; outputs that
  // do not come from it (inputs passed through, masks, shapes) are whatever the network says.
  // Throws Error(invalid_argument) naming an input that is missing, unknown, given twice, of another dtype or shape, or an id out
  // of range.
  std::vector<NamedTensor> run(std::span<const NamedTensor> inputs);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct DeviceInfo {
  std::string name;         // "cpu"
  std::string description;  // processor name
  int threads = 0;
  int cores = 0, packages = 0, numa_nodes = 0;  // of a CPU, as far as this process may use them; 0: not known
  std::vector<std::string> instruction_sets;    // usable ones, the one in use first
  std::vector<std::string> precisions;
  double peak_gflops = 0;                                                   // measured, fp32, all threads
  double peak_tf32_gflops = 0, peak_fp16_gflops = 0, peak_bf16_gflops = 0;  // measured where the device has them, else 0
  double peak_int8_gops = 0;  // measured, products of eight-bit integers with 32-bit sums, all threads; 0: not measured
  double bandwidth_gbs = 0;   // measured, all threads
};
// One device by its EngineOptions name (of several, the first). Measures for some tens of milliseconds, a CPU with this many threads (0:
// all usable CPUs). Throws Error(invalid_argument, unsupported).
BERTIE_API DeviceInfo device_info(std::string_view name, int threads = 0);
// The devices of this build and machine, measured likewise; "cuda" with the reason where no GPU can be used.
BERTIE_API std::vector<DeviceInfo> devices(int threads = 0);

}  // namespace bertie
