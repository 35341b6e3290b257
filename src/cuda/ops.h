// What the files of this folder register in backend.cc.
#pragma once

#include "backend/kernel.h"

namespace bertie::cuda {

PrepareResult prepare_cast(const KernelRequest& request);
PrepareResult prepare_embedding(const KernelRequest& request);
PrepareResult prepare_gather_rows(const KernelRequest& request);
PrepareResult prepare_gelu(const KernelRequest& request);
PrepareResult prepare_linear(const KernelRequest& request);
PrepareResult prepare_normalize(const KernelRequest& request);
PrepareResult prepare_pool(const KernelRequest& request);

}  // namespace bertie::cuda
