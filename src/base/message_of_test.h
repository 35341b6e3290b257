// What an action's Error says, for tests.
#pragma once

#include <string>

#include "bertie/base.h"

namespace bertie {

// "" where it throws none.
std::string message_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace bertie
