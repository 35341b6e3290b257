// The backends of this build, in one place.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/kernel.h"

namespace bertie {

// What an engine is built for.
struct Target {
  std::vector<const Backend*> backends;  // to ask for kernels, the preferred one first
  std::vector<std::string> devices;      // names for Backend::open, a replica of the engine on each
  std::vector<Precision> precisions;     // of the preferred backend
  std::string float_precision = "fp32";  // of what lies between layers whose precision is for linear layers alone
  std::vector<std::string> precision_names() const;
  std::vector<std::string> linear_only() const;  // names of precisions for linear layers alone
  // Whether each device has it, as Backend says; empty: none has. Not for longer than this.
  std::function<bool(int64_t columns, int64_t depth_bytes)> fuses_linear_layer_norm() const;
};
// Of EngineOptions::device. Throws Error(invalid_argument) naming the devices there are.
Target target_of(std::string_view device);

}  // namespace bertie
