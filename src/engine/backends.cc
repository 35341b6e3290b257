#include "engine/backends.h"

#include <algorithm>

#include "backend/plugin_kernels.h"
#include "base/error.h"
#include "cpu/backend.h"
#include "cuda/backend.h"
#include "reference/backend.h"

namespace bertie {

std::vector<std::string> Target::precision_names() const {
  std::vector<std::string> names;
  for (const Precision& precision : precisions) names.emplace_back(precision.name);
  return names;
}

std::vector<std::string> Target::linear_only() const {
  std::vector<std::string> names;
  for (const Precision& precision : precisions) {
    if (precision.linear_only) names.emplace_back(precision.name);
  }
  return names;
}

std::function<bool(int64_t, int64_t)> Target::fuses_linear_layer_norm() const {
  const auto fuses = backends.front()->fuses_linear_layer_norm;
  if (!fuses) return nullptr;
  return [this, fuses](int64_t columns, int64_t depth_bytes) {
    return std::all_of(devices.begin(), devices.end(),
                       [&](const std::string& device) { return fuses(device, columns, depth_bytes); });
  };
}

Target target_of(std::string_view device) {
  Target target;
  const auto offer = [&](std::initializer_list<const Backend*> backends) {
    target.backends = backends;
    const std::span<const Precision> precisions = target.backends.front()->precisions();
    target.precisions.assign(precisions.begin(), precisions.end());
  };
  if (device == "cpu" || device == "reference") {
    if (device == "cpu") {
      offer({&cpu_backend(), &plugin_cpu_backend(), &reference_backend()});
    } else {
      offer({&reference_backend(), &plugin_cpu_backend()});
    }
    target.devices.emplace_back(device);
    return target;
  }
  offer({&cuda_backend(), &plugin_cuda_backend(), &cpu_backend(), &plugin_cpu_backend(), &reference_backend()});
  target.float_precision = "fp16";
  for (size_t begin = 0; begin <= device.size();) {
    const size_t end = std::min(device.find(',', begin), device.size());
    const std::string_view name = device.substr(begin, end - begin);
    if (!is_cuda_device(name)) fail(ErrorCode::invalid_argument, "no device '{}': there are cpu, cuda, cuda:N, reference", name);
    target.devices.emplace_back(name);
    begin = end + 1;
  }
  return target;
}

}  // namespace bertie
