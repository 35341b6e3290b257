// What the files of this folder register in backend.cc.
#pragma once

#include "backend/kernel.h"

namespace bertie::cpu {

PrepareResult prepare_linear(const KernelRequest& request);
PrepareResult prepare_linear_shared(const KernelRequest& request);  // weights that an embedding reads too, packed on the fly

}  // namespace bertie::cpu
