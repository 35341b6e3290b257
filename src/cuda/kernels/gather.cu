// A block takes a slice and turn; its threads copy pieces of 16 bytes where slices are made of them, else of 4, 2 or 1.
#include "cuda/kernels/gather.h"

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {
namespace {

template <typename Piece>
__global__ void gather(GatherParams p) {
  const int64_t pieces = p.inner_bytes / static_cast<int64_t>(sizeof(Piece));
  for (int64_t slice = blockIdx.x; slice < p.outer * p.count; slice += gridDim.x) {
    const int64_t at = slice % p.count;
    int64_t index = p.wide_indices ? static_cast<const int64_t*>(p.indices)[at] : static_cast<const int32_t*>(p.indices)[at];
    if (index < 0) index += p.extent;
    const Piece* from = static_cast<const Piece*>(p.x) + (slice / p.count * p.extent + index) * pieces;
    Piece* to = static_cast<Piece*>(p.y) + slice * pieces;
    for (int64_t i = threadIdx.x; i < pieces; i += blockDim.x) to[i] = from[i];
  }
}

template <typename Piece>
cudaError_t launch(const GatherParams& p, cudaStream_t stream) {
  gather<Piece><<<blocks_for(p.outer * p.count, 1), 64, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_gather(const GatherParams& p, cudaStream_t stream) {
  if (p.outer * p.count * p.inner_bytes == 0) return cudaSuccess;
  if (p.inner_bytes % 16 == 0) return launch<int4>(p, stream);
  if (p.inner_bytes % 4 == 0) return launch<uint32_t>(p, stream);
  if (p.inner_bytes % 2 == 0) return launch<uint16_t>(p, stream);
  return launch<uint8_t>(p, stream);
}

}  // namespace bertie::cuda
