// The functions of cuda/api.h that are CUDA's runtime, and those that are matrix products.
#pragma once

#include "cuda/api.h"

namespace bertie::cuda {

void fill_runtime(BertieCudaApi& api);    // runtime.cc
void fill_products(BertieCudaApi& api);   // products.cc
void fill_launchers(BertieCudaApi& api);  // launchers.cc

// Statuses of cuBLASLt stand behind CUDA's.
constexpr int32_t kCublasStatus = 100000;
const char* product_error_text(int32_t status);

}  // namespace bertie::cuda
