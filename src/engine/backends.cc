#include "engine/backends.h"

#include "backend/plugin_kernels.h"
#include "base/error.h"
#include "cpu/backend.h"
#include "reference/backend.h"

namespace bertie {

std::vector<const Backend*> backends_for(std::string_view device) {
  if (device == "cpu") return {&cpu_backend(), &plugin_cpu_backend(), &reference_backend()};
  if (device == "reference") return {&reference_backend(), &plugin_cpu_backend()};
  fail(ErrorCode::invalid_argument, "no device '{}': this build has cpu, reference", device);
}

std::vector<std::string> precisions_of(std::string_view device) {
  backends_for(device);
  return {"fp32"};
}

}  // namespace bertie
