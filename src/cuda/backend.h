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

// The GPUs that the driver shows, by name; why there are none is what opening "cuda:0" throws.
std::vector<std::string> cuda_devices();

// Names of Backend::precisions: those that this device has.
std::vector<std::string> cuda_precisions(const Device& device);

// Measured: operations a second by precision, bytes a second of its memory. 0: there was no memory to measure in.
struct CudaPeaks {
  double fp32 = 0, tf32 = 0, fp16 = 0, bf16 = 0, bandwidth = 0;
};
CudaPeaks measure_cuda_peaks(Device& device);

}  // namespace bertie
