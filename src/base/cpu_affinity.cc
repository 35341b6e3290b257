#include "base/cpu_affinity.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace bertie {
namespace {

// CPUs' worth of time that "<quota> <period>" (cgroup v2) allows; `none` where there is no limit or no such file.
double quota_of(const std::string& path, double none) {
  std::ifstream file(path);
  double quota = 0, period = 0;
  return file >> quota >> period && quota > 0 && period > 0 ? quota / period : none;
}

double cgroup_quota(double none) {
  double least = none;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t colon = line.rfind(':');
    if (colon == std::string::npos) continue;
    if (line.rfind("0::", 0) == 0) {  // v2: every ancestor's limit counts
      std::string group = line.substr(colon + 1);
      while (group.size() > 1 && group[0] == '/') {
        least = std::min(least, quota_of("/sys/fs/cgroup" + group + "/cpu.max", none));
        group.resize(group.rfind('/'));
      }
      least = std::min(least, quota_of("/sys/fs/cgroup/cpu.max", none));
    }
  }
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");  // v1
  double quota = 0, period = 0;
  if (quota_file >> quota && period_file >> period && quota > 0 && period > 0) least = std::min(least, quota / period);
  return least;
}

}  // namespace

std::vector<int> allowed_cpus() {
  std::vector<int> allowed;
  for (int cpus = 1024; cpus <= (1 << 16); cpus *= 2) {  // grows until it holds the machine's highest CPU number
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(cpus));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    for (int cpu = 0; known && cpu < cpus; ++cpu) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set)) allowed.push_back(cpu);
    }
    CPU_FREE(set);
    if (known) break;
  }
  return allowed;
}

int usable_cpus() {
  const size_t allowed = allowed_cpus().size();
  const int count = static_cast<int>(allowed > 0 ? allowed : std::max(1u, std::thread::hardware_concurrency()));
  return std::max(1, static_cast<int>(cgroup_quota(count)));
}

bool pin_thread(std::thread::native_handle_type thread, int cpu) noexcept {
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  PinnedScope::Mask mask{};
  const auto place = static_cast<size_t>(cpu);
  if (place >= kBits * mask.size()) return false;  // one below 0, too
  mask[place / kBits] = 1ul << place % kBits;
  return pthread_setaffinity_np(thread, sizeof mask, reinterpret_cast<const cpu_set_t*>(mask.data())) == 0;
}

PinnedScope::PinnedScope(int cpu) noexcept {
  if (cpu < 0 || pthread_getaffinity_np(pthread_self(), sizeof before_, reinterpret_cast<cpu_set_t*>(before_.data())) != 0)
    return;
  pinned_ = pin_thread(pthread_self(), cpu);
}

PinnedScope::~PinnedScope() {
  if (pinned_) pthread_setaffinity_np(pthread_self(), sizeof before_, reinterpret_cast<const cpu_set_t*>(before_.data()));
}

}  // namespace bertie
