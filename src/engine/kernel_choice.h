// Chooses a kernel for each node, in the order of the backends' tables, and keeps the reason.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/kernel.h"

namespace bertie {

struct KernelChoice {
  std::shared_ptr<const Kernel> kernel;
  std::string name;     // the table entry's
  std::string backend;  // whose table
  std::string reason;   // why this one, and why not those asked before
};

// Nodes of one op with the same constants and attributes share one kernel (ALBERT's layers).
class KernelChooser {
 public:
  KernelChooser(const Network& network, std::vector<const Backend*> backends, ThreadPool& pool)
      : network_(network), backends_(std::move(backends)), pool_(pool) {}

  // Throws Error(unsupported) with every kernel's reason where none takes the node.
  KernelChoice choose(const Node& node);
  // As choose, but nullopt where none takes it; every kernel's reason is put behind `refusals`.
  std::optional<KernelChoice> find(const Node& node, std::string& refusals);

 private:
  std::string key(const Node& node) const;

  const Network& network_;
  std::vector<const Backend*> backends_;
  ThreadPool& pool_;
  std::vector<std::pair<std::string, KernelChoice>> shared_;
};

}  // namespace bertie
