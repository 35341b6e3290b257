// What every launch header of this folder needs. The host side of the backend (src/cuda/*.cc) fills in the params structs, and is
// built without the CUDA toolkit: there the two CUDA types stand for themselves, and the launch functions are reached through the
// table of launchers (cuda/api.h) alone.
//
// A kernel family is x.h (params, `cudaError_t launch_x(const XParams&, cudaStream_t)`) and x.cu; library/launchers.cc lists it.
// Params are plain data: numbers and addresses in device memory. A launch allocates nothing, does not synchronise, and may be
// captured into a graph: what changes from run to run without a new graph is read through addresses (`tokens`, tiles).
#pragma once

#include <cstdint>

#ifdef BERTIE_CUDA_TOOLKIT
#include <cuda_runtime_api.h>
#else
using cudaError_t = int;
using cudaStream_t = struct CUstream_st*;
#endif

namespace bertie::cuda {

// How a tensor's elements lie in memory; sums and functions are float32 whatever it is.
enum class Element : int32_t { f32, f16, bf16 };

// One block of queries of one sequence for attention. Rows are those of packed [T, ...] tensors.
struct AttentionTile {
  int32_t query_begin,
      query_count;               // rows of the output; query i of q is row query_rows[i] where there are query_rows, else row i
  int32_t key_begin, key_count;  // rows of k and v
};

}  // namespace bertie::cuda
