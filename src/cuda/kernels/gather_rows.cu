// A block takes a row and turn; its threads copy pieces of 16 bytes where rows are made of them, else of 2.
#include "cuda/kernels/gather_rows.h"

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {
namespace {

template <typename Piece>
__global__ void gather_rows(GatherRowsParams p) {
  const int64_t rows = p.live_rows ? min(p.count, int64_t{*p.live_rows}) : p.count;
  const int64_t pieces = p.row_bytes / static_cast<int64_t>(sizeof(Piece));
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t id = p.wide_ids ? static_cast<const int64_t*>(p.ids)[row] : static_cast<const int32_t*>(p.ids)[row];
    const Piece* from = static_cast<const Piece*>(p.table) + id * pieces;
    Piece* to = static_cast<Piece*>(p.y) + row * pieces;
    for (int64_t i = threadIdx.x; i < pieces; i += blockDim.x) to[i] = from[i];
  }
}

}  // namespace

cudaError_t launch_gather_rows(const GatherRowsParams& p, cudaStream_t stream) {
  constexpr int kThreads = 64;
  const unsigned blocks = blocks_for(p.count, 1);
  if (p.row_bytes % 16 == 0)
    gather_rows<int4><<<blocks, kThreads, 0, stream>>>(p);
  else
    gather_rows<uint16_t><<<blocks, kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace bertie::cuda
