// Chooses a kernel for each node, in the order of the backends' tables, and keeps the reason.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/kernel.h"
#include "backend/kernel_timings.h"

namespace bertie {

struct KernelChoice {
  std::shared_ptr<const Kernel> kernel;
  std::string name;           // the table entry's
  std::string portable_name;  // the table entry's
  std::string backend;        // whose table
  bool on_device = false;     // see Backend
  std::string reason;         // why this one, and why not those asked before
};

// How kernels that take the same step are told apart.
struct Tuning {
  std::shared_ptr<KernelTimings> timings;  // nullptr: by rule
  bool measure = false;                    // what `timings` does not know
};

// Nodes of one op with the same constants and attributes share one kernel (ALBERT's layers).
class KernelChooser {
 public:
  // Gives kernels that do not read panels row-major constants, in `network` itself. `packing`: what packs weights; `running`: what kernels
  // will run on, and are timed on. `device`: of backends that have one.
  KernelChooser(Network& network, std::vector<const Backend*> backends, ThreadPool& packing, ThreadPool& running,
                Tuning tuning = {}, std::shared_ptr<Device> device = nullptr);

  // Throws Error(unsupported) with every kernel's reason where none takes the node. `on_host`: kernels of the device are
  // asked last.
  KernelChoice choose(const Node& node, bool on_host = false);
  // As choose, but nullopt where none takes it; every kernel's reason is put behind `refusals`.
  std::optional<KernelChoice> find(const Node& node, std::string& refusals, bool on_host = false);
  // The times that choices were made by; nullptr: none.
  std::shared_ptr<KernelTimings> applied() const { return applied_; }
  // How each value lies in memory, by its id, as the kernels chosen so far keep them.
  const std::vector<DType>& stored();
  bool has_device() const { return device_ != nullptr; }

 private:
  struct Offer {
    const Backend* backend;
    const KernelEntry* entry;
    KernelChoice choice;
  };
  // By the backends' order; nullopt where none takes the step.
  std::optional<Offer> choose_by_rule(const Node& node, std::string& refusals, bool on_host);
  // `rule`, or what the times say is faster.
  KernelChoice choose_by_time(const Node& node, Offer rule);
  std::vector<Offer> offers_beside(const Node& node, const Offer& rule);
  PrepareResult prepare(const KernelEntry& entry, const Node& node, bool by_timing);
  KernelChoice fastest_in_the_mean(std::vector<Offer> offers, const KernelTimes& times);
  KernelChoice fastest_by_tokens(std::vector<Offer> offers, const KernelTimes& times);
  TimedProblem problem_of(const Node& node, const Backend& backend);
  std::string key(const Node& node);
  void make_row_major(const Node& node);
  // Of what kernels' times depend on; empty where the backend's are not timed.
  std::string machine_of(const Backend& backend) const;

  Network& network_;
  std::vector<const Backend*> backends_;
  ThreadPool &packing_, &running_;
  Tuning tuning_;
  std::shared_ptr<Device> device_;
  std::vector<DType> stored_;
  std::shared_ptr<KernelTimings> applied_;
  std::vector<std::pair<std::string, KernelChoice>> shared_;
};

}  // namespace bertie
