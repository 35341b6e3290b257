// A block takes a row and turn: it looks for the row's sequence, then copies pieces of 16 bytes where rows are made of them, else of 4, 2 or 1.
#include "cuda/kernels/pack_rows.h"

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {
namespace {

template <typename Piece>
__global__ void pack_rows(PackRowsParams p) {
  const int64_t pieces = p.row_bytes / static_cast<int64_t>(sizeof(Piece)), tokens = min(p.tokens, int64_t{*p.live_tokens});
  for (int64_t token = blockIdx.x; token < tokens; token += gridDim.x) {
    int64_t sequence = 0, end = p.sequences;  // the last that begins at or before the token
    while (sequence + 1 < end) {
      const int64_t middle = (sequence + end) / 2;
      (p.cumulative_lengths[middle] <= token ? sequence : end) = middle;
    }
    const int64_t column = p.columns ? p.columns[token] : token - p.cumulative_lengths[sequence];
    const Piece* from = static_cast<const Piece*>(p.x) + (sequence * p.per_sequence + column * p.per_column) * pieces;
    Piece* to = static_cast<Piece*>(p.y) + token * pieces;
    for (int64_t i = threadIdx.x; i < pieces; i += blockDim.x) to[i] = from[i];
  }
}

template <typename Piece>
cudaError_t launch(const PackRowsParams& p, cudaStream_t stream) {
  pack_rows<Piece><<<blocks_for(p.tokens, 1), 64, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_pack_rows(const PackRowsParams& p, cudaStream_t stream) {
  if (p.tokens == 0 || p.row_bytes == 0) return cudaSuccess;
  if (p.row_bytes % 16 == 0) return launch<int4>(p, stream);
  if (p.row_bytes % 4 == 0) return launch<uint32_t>(p, stream);
  if (p.row_bytes % 2 == 0) return launch<uint16_t>(p, stream);
  return launch<uint8_t>(p, stream);
}

}  // namespace bertie::cuda
