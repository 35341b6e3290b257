// Raising bertie::Error with a formatted sentence.
#pragma once

#include <fmt/format.h>

#include "bertie/base.h"

namespace bertie {

template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace bertie
