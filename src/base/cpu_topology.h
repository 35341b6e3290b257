// How a machine's CPUs lie: hardware threads of one core, cores of a package, NUMA nodes.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace bertie {

struct LogicalCpu {
  int number = 0;
  int core = 0;  // the lowest number among the core's hardware threads
  int package = 0;
  int node = 0;  // NUMA
};

struct CpuTopology {
  std::vector<LogicalCpu> cpus;  // by number

  int cores() const;
  int packages() const;
  std::vector<int> nodes() const;  // that have CPUs, ascending
};

// Of the CPUs in `allowed`, as Linux describes them in `folder`. What it does not say is taken as simple: a core for each CPU, one package, one
// node.
CpuTopology read_cpu_topology(std::span<const int> allowed, const std::string& folder = "/sys/devices/system");

// CPU numbers in the order in which threads are put on them: first one hardware thread of each core, node by node, so that a few threads
// stay near one memory and share a cache; then the cores' second threads, and so on.
std::vector<int> pinning_order(const CpuTopology& topology);

// "0-3,8" as 0, 1, 2, 3, 8; up to what cannot be read.
std::vector<int> parse_cpu_list(const std::string& text);

}  // namespace bertie
