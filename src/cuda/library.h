// libbertie_cuda.so, found and loaded when a CUDA device is first asked for.
#pragma once

#include <string>

#include "cuda/api.h"

namespace bertie::cuda {

// Loads the library once a process: the file that the environment variable BERTIE_CUDA_LIBRARY names, or libbertie_cuda.so beside the
// program or the shared library that bertie is in, in their folder's ../lib, or where the system looks. Throws Error(unsupported) with
// one sentence that says what is missing; the next call tries again.
const BertieCudaApi& library();

// Whether what a library gave is what this program was built for; "": it is, else why not. `origin`: the file.
std::string api_fault(const BertieCudaApi* api, const std::string& origin);

// Number 13020 as "13.2".
std::string cuda_version(int number);

}  // namespace bertie::cuda
