// The CUDA backend: kernels of libbertie_cuda.so, which is loaded when a device is first opened (cuda/library.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backend/kernel.h"

namespace bertie {

const Backend& cuda_backend();

// "cuda", or "cuda:" and a number.
bool is_cuda_device(std::string_view name);

struct CudaDeviceInfo {
  std::string name;          // "cuda:0"
  std::string description;   // why it cannot be used, where it cannot
  double peak_gflops = 0;    // fp32, by its clock and multiprocessors
  double bandwidth_gbs = 0;  // by its memory's clock and width
};
// The GPUs that the driver shows; one entry named "cuda" that says why there are none.
std::vector<CudaDeviceInfo> cuda_devices();

}  // namespace bertie
