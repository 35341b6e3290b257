#include "engine/backends.h"

#include "backend/plugin_kernels.h"
#include "base/error.h"
#include "cpu/backend.h"
#include "cuda/backend.h"
#include "reference/backend.h"

namespace bertie {

std::vector<const Backend*> backends_for(std::string_view device) {
  if (device == "cpu") return {&cpu_backend(), &plugin_cpu_backend(), &reference_backend()};
  if (device == "reference") return {&reference_backend(), &plugin_cpu_backend()};
  if (is_cuda_device(device)) return {&cuda_backend()};
  fail(ErrorCode::invalid_argument, "no device '{}': there are cpu, cuda, cuda:N, reference", device);
}

std::vector<std::string> precisions_of(std::string_view device) {
  backends_for(device);
  if (is_cuda_device(device)) return {"fp32", "tf32", "fp16", "bf16"};
  return {"fp32", "int8"};
}

}  // namespace bertie
