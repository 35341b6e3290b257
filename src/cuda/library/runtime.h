// The functions of cuda/api.h that are CUDA's runtime, and those that are matrix products.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/api.h"

namespace bertie::cuda {

void fill_runtime(BertieCudaApi& api);    // runtime.cc
void fill_products(BertieCudaApi& api);   // products.cc
void fill_launchers(BertieCudaApi& api);  // launchers.cc

// Makes the device the calling thread's: launches go there, and a stream takes only its own device's.
cudaError_t use_device(int32_t device);

// Statuses of cuBLASLt stand behind CUDA's.
constexpr int32_t kCublasStatus = 100000;
const char* product_error_text(int32_t status);

}  // namespace bertie::cuda
