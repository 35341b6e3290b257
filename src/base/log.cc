#include "base/log.h"

#include <atomic>
#include <mutex>

namespace bertie {
namespace {
std::mutex mutex;
LogCallback callback;
std::atomic<bool> enabled{false};
}  // namespace

void set_log_callback(LogCallback next) {
  std::lock_guard lock(mutex);
  callback = std::move(next);
  enabled = static_cast<bool>(callback);
}

bool log_enabled() { return enabled.load(std::memory_order_relaxed); }

void log_message(LogLevel level, std::string_view message) {
  std::lock_guard lock(mutex);
  if (callback) callback(level, message);
}

std::string_view version() { return BERTIE_VERSION; }

}  // namespace bertie
