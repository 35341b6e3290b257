// Which CPUs this process may use, and threads kept on one of them.
#pragma once

#include <array>
#include <thread>
#include <vector>

namespace bertie {

// CPU numbers of the calling thread's affinity mask, ascending; empty where the system does not say.
std::vector<int> allowed_cpus();

// CPUs that this process may keep busy: the affinity mask's, at most the cgroup's quota (rounded down), at least 1.
int usable_cpus();

// Lets a thread run on this CPU alone; false where the system refuses.
bool pin_thread(std::thread::native_handle_type thread, int cpu) noexcept;

// Keeps the calling thread on one CPU until the end of the scope, then gives it back the mask it had. Allocates nothing. Where the system
// refuses, the thread stays as it is.
class PinnedScope {
 public:
  explicit PinnedScope(int cpu) noexcept;  // below 0: leaves the thread alone
  PinnedScope(const PinnedScope&) = delete;
  PinnedScope& operator=(const PinnedScope&) = delete;
  ~PinnedScope();

  // One bit a CPU, for as many as Linux can be built for.
  using Mask = std::array<unsigned long, 8192 / (8 * sizeof(unsigned long))>;

 private:
  Mask before_;
  bool pinned_ = false;
};

}  // namespace bertie
