#include "progress.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "output.h"

namespace bertie::cli {
namespace {
constexpr std::chrono::milliseconds kInterval{200};
}

Progress::Progress(size_t file_size, bool beside_output)
    : enabled_(stderr_is_terminal() && !(beside_output && stdout_is_terminal())),
      file_size_(file_size),
      next_(start_ + kInterval) {}

Progress::~Progress() {
  if (drawn_) fmt::print(stderr, "\r\033[K");
}

bool Progress::is_due() {
  if (!enabled_ || Clock::now() < next_) return false;
  next_ = Clock::now() + kInterval;
  drawn_ = true;
  return true;
}

void Progress::update_share(std::string_view what, uint64_t done, uint64_t total) {
  if (!is_due()) return;
  fmt::print(stderr, "\r\033[K{}: {:.0f}%", what, 100 * static_cast<double>(done) / static_cast<double>(total));
  std::fflush(stderr);
}

void Progress::update(size_t texts, size_t bytes) {
  if (!is_due()) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  fmt::print(stderr, "\r\033[K{} texts, {:.0f} a second", texts, static_cast<double>(texts) / seconds);
  if (file_size_ > 0 && bytes > 0) {
    const double share = std::min(1.0, static_cast<double>(bytes) / static_cast<double>(file_size_));
    fmt::print(stderr, ", {:.0f}%, {:.0f} s left", 100 * share, seconds * (1 - share) / share);
  }
  std::fflush(stderr);
}

}  // namespace bertie::cli
