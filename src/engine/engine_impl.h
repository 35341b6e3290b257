// What an Engine holds; Session reads it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/kernel.h"
#include "base/thread_pool.h"
#include "bertie/engine.h"

namespace bertie {

struct EngineStep {
  NodeId node = kNone;
  std::shared_ptr<const Kernel> kernel;
  bool on_device = false;  // see Backend
};

struct Target;

// An engine on one device; the first of several holds the others.
struct Engine::Impl {
  static std::shared_ptr<const Engine> build(const Network& network, const EngineOptions& options, const Target& target);
  // Where a session runs.
  struct Place {
    const Impl* plan;
    std::shared_ptr<const void> use;  // held for as long as the session is there
    int cpu = -1;                     // that a run keeps its calling thread on; below 0: none
  };
  // On the replica with the fewest sessions; where each run has a CPU to itself, on the CPU with the fewest.
  static Place of_new_session(const Engine& engine);

  Network network;
  EngineOptions options;
  int threads = 1;                   // of all sessions together
  std::shared_ptr<ThreadPool> pool;  // that runs use: of `threads`, or in throughput mode of the caller alone
  // That runs keep their callers on, and the sessions on each (one reference a session, and its own). Empty: none is pinned.
  std::vector<int> caller_cpus;
  std::vector<std::shared_ptr<const int>> caller_cpu_uses;
  std::shared_ptr<Device> device;  // nullptr: steps run on the CPU
  std::vector<DType> stored;       // how each value lies in memory, by its id
  std::vector<EngineStep> steps;
  std::vector<StepInfo> infos;
  std::vector<PassReport> passes;
  Execution execution;
  size_t weight_bytes = 0;
  std::shared_ptr<KernelTimings> timings;  // that were applied; nullptr: none
  PositionRule position_rule;
  // Rows of the smallest table each kind of id is looked up in; 0 where the network takes none.
  int64_t vocabulary = 0, types = 0, positions = 0;
  // P of the smallest relative bias [H, 2P-1]: columns of one sequence must differ by less. 0 where no attention has one.
  int64_t bias_columns = 0;
  bool reads_first_rows = false;                              // whether a step reads the first row of each sequence by its place
  std::vector<std::unique_ptr<Impl>> replicas;                // on further devices
  std::shared_ptr<const int> uses = std::make_shared<int>();  // one reference a session, and its own
};

}  // namespace bertie
