#include "base/cpu_topology.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>

#include "base/cpu_affinity.h"
#include "base/temporary_folder_test.h"

namespace bertie {
namespace {

namespace fs = std::filesystem;

std::vector<int> counted(int count) {
  std::vector<int> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// A folder like /sys/devices/system.
class CpuTopologyTest : public testing::Test, protected TemporaryFolder {
 protected:
  void write(const fs::path& file, const std::string& text) const {
    const fs::path to = path(file);
    fs::create_directories(to.parent_path());
    std::ofstream(to) << text << "\n";
  }
  void add_cpu(int number, const std::string& siblings, int package, const char* list = "core_cpus_list") const {
    const fs::path own = fs::path("cpu") / ("cpu" + std::to_string(number)) / "topology";
    write(own / list, siblings);
    write(own / "physical_package_id", std::to_string(package));
  }
  // Two packages of two cores of two threads, numbered as Linux does on Intel: first all cores, then their second threads.
  void two_packages() const {
    for (int core = 0; core < 4; ++core) {
      for (int thread = 0; thread < 2; ++thread)
        add_cpu(core + 4 * thread, std::to_string(core) + "," + std::to_string(core + 4), core / 2);
    }
    write("node/online", "0-1");
    write("node/node0/cpulist", "0-1,4-5");
    write("node/node1/cpulist", "2-3,6-7");
  }
  CpuTopology read(const std::vector<int>& allowed) const { return read_cpu_topology(allowed, folder_); }
};

TEST_F(CpuTopologyTest, TwoPackages) {
  two_packages();
  const CpuTopology topology = read(counted(8));
  EXPECT_EQ(topology.cpus.size(), 8u);
  EXPECT_EQ(topology.cores(), 4);
  EXPECT_EQ(topology.packages(), 2);
  EXPECT_EQ(topology.nodes(), (std::vector<int>{0, 1}));
  EXPECT_EQ(topology.cpus[6].core, 2);
  EXPECT_EQ(topology.cpus[6].node, 1);
  EXPECT_EQ(pinning_order(topology), counted(8));
}

TEST_F(CpuTopologyTest, OnlyWhatTheProcessMayUse) {
  two_packages();
  const CpuTopology topology = read({7, 1, 3, 5});  // core 1 with both threads, core 3 with both
  EXPECT_EQ(topology.cores(), 2);
  EXPECT_EQ(pinning_order(topology), (std::vector<int>{1, 3, 5, 7}));
  EXPECT_EQ(read({2}).nodes(), (std::vector<int>{1}));
  EXPECT_EQ(read({6, 2}).cores(), 1);
}

// Siblings side by side, cores of the nodes taking turns: the order is by core, then by node.
TEST_F(CpuTopologyTest, NeighbouringSiblings) {
  for (int cpu = 0; cpu < 8; ++cpu) {
    const int first = cpu / 2 * 2;
    add_cpu(cpu, std::to_string(first) + "-" + std::to_string(first + 1), 0, "thread_siblings_list");
  }
  write("node/online", "0,2");
  write("node/node0/cpulist", "0-1,4-5");
  write("node/node2/cpulist", "2-3,6-7");
  const CpuTopology topology = read(counted(8));
  EXPECT_EQ(topology.cores(), 4);
  EXPECT_EQ(topology.packages(), 1);
  EXPECT_EQ(topology.nodes(), (std::vector<int>{0, 2}));
  EXPECT_EQ(pinning_order(topology), (std::vector<int>{0, 4, 2, 6, 1, 5, 3, 7}));
}

TEST_F(CpuTopologyTest, NothingKnown) {
  const CpuTopology topology = read({3, 0, 1});
  EXPECT_EQ(topology.cores(), 3);
  EXPECT_EQ(topology.packages(), 1);
  EXPECT_EQ(topology.nodes(), (std::vector<int>{0}));
  EXPECT_EQ(pinning_order(topology), (std::vector<int>{0, 1, 3}));
  EXPECT_TRUE(pinning_order(read({})).empty());
  EXPECT_EQ(read({}).cores(), 0);
}

TEST(CpuTopology, ThisMachine) {
  const std::vector<int> allowed = allowed_cpus();
  const CpuTopology topology = read_cpu_topology(allowed);
  EXPECT_GE(topology.cores(), 1);
  EXPECT_LE(topology.cores(), static_cast<int>(allowed.size()));
  EXPECT_GE(topology.packages(), 1);
  EXPECT_GE(topology.nodes().size(), 1u);
  std::vector<int> order = pinning_order(topology);
  std::sort(order.begin(), order.end());
  EXPECT_EQ(order, allowed);
}

TEST(CpuTopology, Lists) {
  EXPECT_EQ(parse_cpu_list("0-3,8"), (std::vector<int>{0, 1, 2, 3, 8}));
  EXPECT_EQ(parse_cpu_list("5"), (std::vector<int>{5}));
  EXPECT_TRUE(parse_cpu_list("").empty());
  EXPECT_TRUE(parse_cpu_list("none").empty());
  EXPECT_EQ(parse_cpu_list("1,2-"), (std::vector<int>{1}));
  EXPECT_TRUE(parse_cpu_list("4-1").empty());
  EXPECT_TRUE(parse_cpu_list("-2").empty());
  EXPECT_TRUE(parse_cpu_list("0-2000000000").empty());
}

}  // namespace
}  // namespace bertie
