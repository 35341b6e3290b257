// Log lines go to the callback set by bertie::set_log_callback.
#pragma once

#include <fmt/format.h>

#include "bertie/base.h"

namespace bertie {

void log_message(LogLevel level, std::string_view message);
bool log_enabled();  // whether a callback is set, so that costly messages can be skipped

template <typename... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled()) log_message(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace bertie
