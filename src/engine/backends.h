// The backends of this build, in one place.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/kernel.h"

namespace bertie {

// The backends to ask for a device's kernels, the preferred one first. Throws Error(invalid_argument) naming the devices
// there are.
std::vector<const Backend*> backends_for(std::string_view device);

// Precisions a device computes in, the default first.
std::vector<std::string> precisions_of(std::string_view device);

}  // namespace bertie
