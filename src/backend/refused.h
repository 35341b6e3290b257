// How the files of a backend refuse a step as it is prepared.
#pragma once

#include <string>
#include <utility>

#include "backend/kernel.h"

namespace bertie {

// A step that a kernel does not take: becomes a Refusal. Thrown and caught within a backend's folder.
struct Refused {
  std::string reason;
};

// Prepares by `make()`, which returns a Preparation or throws Refused.
template <typename Make>
PrepareResult prepare_or_refuse(Make make) {
  try {
    return make();
  } catch (Refused& refused) {
    return Refusal{std::move(refused.reason)};
  }
}

}  // namespace bertie
