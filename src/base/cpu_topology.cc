#include "base/cpu_topology.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <tuple>

namespace bertie {
namespace {

// Empty where there is no such file.
std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The node of each CPU that the files name.
std::map<int, int> read_nodes(const std::filesystem::path& folder) {
  std::map<int, int> nodes;
  for (int node : parse_cpu_list(first_line(folder / "online"))) {
    for (int cpu : parse_cpu_list(first_line(folder / ("node" + std::to_string(node)) / "cpulist"))) nodes[cpu] = node;
  }
  return nodes;
}

template <typename Field>
std::set<int> distinct(const std::vector<LogicalCpu>& cpus, Field field) {
  std::set<int> values;
  for (const LogicalCpu& cpu : cpus) values.insert(cpu.*field);
  return values;
}

}  // namespace

int CpuTopology::cores() const { return static_cast<int>(distinct(cpus, &LogicalCpu::core).size()); }

int CpuTopology::packages() const { return static_cast<int>(distinct(cpus, &LogicalCpu::package).size()); }

std::vector<int> CpuTopology::nodes() const {
  const std::set<int> nodes = distinct(cpus, &LogicalCpu::node);
  return {nodes.begin(), nodes.end()};
}

std::vector<int> parse_cpu_list(const std::string& text) {
  constexpr int kMost = 1 << 16;
  std::vector<int> numbers;
  std::istringstream stream(text);
  for (int first; stream >> first;) {
    int last = first;
    if (stream.peek() == '-') {
      stream.get();
      if (!(stream >> last)) break;
    }
    if (first < 0 || last >= kMost) break;
    for (int number = first; number <= last; ++number) numbers.push_back(number);
    if (stream.peek() == ',') stream.get();
  }
  return numbers;
}

CpuTopology read_cpu_topology(std::span<const int> allowed, const std::string& folder) {
  const std::filesystem::path root(folder);
  const std::map<int, int> nodes = read_nodes(root / "node");
  CpuTopology topology;
  for (int number : allowed) {
    const std::filesystem::path own = root / "cpu" / ("cpu" + std::to_string(number)) / "topology";
    LogicalCpu cpu{number, number, 0, 0};
    std::vector<int> siblings = parse_cpu_list(first_line(own / "core_cpus_list"));
    if (siblings.empty()) siblings = parse_cpu_list(first_line(own / "thread_siblings_list"));  // before Linux 5.4
    if (!siblings.empty()) cpu.core = *std::min_element(siblings.begin(), siblings.end());
    std::istringstream(first_line(own / "physical_package_id")) >> cpu.package;
    if (const auto found = nodes.find(number); found != nodes.end()) cpu.node = found->second;
    topology.cpus.push_back(cpu);
  }
  std::sort(topology.cpus.begin(), topology.cpus.end(),
            [](const LogicalCpu& a, const LogicalCpu& b) { return a.number < b.number; });
  return topology;
}

std::vector<int> pinning_order(const CpuTopology& topology) {
  std::map<int, int> taken;                           // hardware threads of each core so far
  std::vector<std::tuple<int, int, int, int>> order;  // thread of its core, node, package, number
  for (const LogicalCpu& cpu : topology.cpus) order.emplace_back(taken[cpu.core]++, cpu.node, cpu.package, cpu.number);
  std::sort(order.begin(), order.end());
  std::vector<int> numbers;
  for (const auto& place : order) numbers.push_back(std::get<3>(place));
  return numbers;
}

}  // namespace bertie
