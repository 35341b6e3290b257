// Measured limits of a GPU, for `bertie devices` and the share of peak that benchmarks print.
#pragma once

#include "bertie/tensor.h"
#include "cuda/cuda_device.h"

namespace bertie::cuda {

// Operations a second (two a multiply-add) of cuBLASLt's products of large matrices of `element`, sums in f32; `tf32`: f32 elements
// rounded to it. Some tens of milliseconds. Throws Error(out_of_memory).
double measure_flops(CudaDevice& device, DType element, bool tf32 = false);

// Bytes a second read and written by a copy within the device's memory. Throws Error(out_of_memory).
double measure_bandwidth(CudaDevice& device);

}  // namespace bertie::cuda
