// One element a thread and turn, in the order of y's last axis: writes are coalesced, and reads where x's last axis is the same. Where x
// lies dense along another axis than y, tiles of 32 x 32 elements of the two go through shared memory, so that both are.
#include "cuda/kernels/strided_copy.h"

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 256, kTile = 32, kTileRows = 8;

template <typename T>
__global__ void strided_copy(const T* x, T* y, StridedCopyParams p) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < p.count; i += gridDim.x * int64_t{blockDim.x}) {
    int64_t left = i, from = 0, to = 0;
    for (int axis = p.axes - 1; axis >= 0; --axis) {
      const int64_t place = left % p.extents[axis];
      left /= p.extents[axis];
      from += place * p.x_strides[axis];
      to += place * p.y_strides[axis];
    }
    y[to] = x[from];
  }
}

// `dense`: the axis along which x lies dense; y does along the last. Block z is a place of the other axes.
template <typename T>
__global__ void transpose_tiles(const T* x, T* y, StridedCopyParams p, int dense) {
  __shared__ T tile[kTile][kTile + 1];
  const int last = p.axes - 1;
  int64_t from = 0, to = 0, left = blockIdx.z;
  for (int axis = last - 1; axis >= 0; --axis) {
    if (axis == dense) continue;
    const int64_t place = left % p.extents[axis];
    left /= p.extents[axis];
    from += place * p.x_strides[axis];
    to += place * p.y_strides[axis];
  }
  const int64_t rows = p.extents[dense], columns = p.extents[last];
  const int64_t row_begin = blockIdx.y * int64_t{kTile}, column_begin = blockIdx.x * int64_t{kTile};
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    const int64_t row = row_begin + threadIdx.x, column = column_begin + i;
    if (row < rows && column < columns) tile[i][threadIdx.x] = x[from + row + column * p.x_strides[last]];
  }
  __syncthreads();
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    const int64_t row = row_begin + i, column = column_begin + threadIdx.x;
    if (row < rows && column < columns) y[to + row * p.y_strides[dense] + column] = tile[threadIdx.x][i];
  }
}

template <typename T>
cudaError_t launch(const StridedCopyParams& p, cudaStream_t stream) {
  const T* x = static_cast<const T*>(p.x);
  T* y = static_cast<T*>(p.y);
  const int last = p.axes - 1;
  int dense = -1;
  for (int axis = 0; axis < last; ++axis) {
    if (p.x_strides[axis] == 1 && p.extents[axis] >= kTileRows) dense = axis;
  }
  const bool tiles = dense >= 0 && p.extents[last] >= kTileRows && p.y_strides[last] == 1 && p.x_strides[last] > 1;
  if (tiles) {
    const int64_t across = (p.extents[last] + kTile - 1) / kTile, down = (p.extents[dense] + kTile - 1) / kTile;
    const int64_t planes = p.count / (p.extents[last] * p.extents[dense]);
    if (down <= 65535 && planes <= 65535) {
      const dim3 blocks(static_cast<unsigned>(across), static_cast<unsigned>(down), static_cast<unsigned>(planes));
      transpose_tiles<T><<<blocks, dim3(kTile, kTileRows), 0, stream>>>(x, y, p, dense);
      return cudaGetLastError();
    }
  }
  strided_copy<T><<<blocks_for(p.count, kThreads), kThreads, 0, stream>>>(x, y, p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_strided_copy(const StridedCopyParams& p, cudaStream_t stream) {
  if (p.count == 0) return cudaSuccess;
  switch (p.element_bytes) {
    case 1: return launch<uint8_t>(p, stream);
    case 2: return launch<uint16_t>(p, stream);
    case 4: return launch<uint32_t>(p, stream);
    case 8: return launch<uint64_t>(p, stream);
    case 16: return launch<int4>(p, stream);
    default: return cudaErrorInvalidValue;
  }
}

}  // namespace bertie::cuda
