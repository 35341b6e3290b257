#include "cuda/kernels/tensor_map.h"

#include <cuda.h>

#include <cstring>

namespace bertie::cuda {

static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap));

namespace {

// `stride` and `line`, of a box, in bytes.
cudaError_t encode(const void* matrix, CUtensorMapDataType type, int64_t rows, int64_t columns, int64_t stride, int box_rows,
                   int box_columns, int line, TensorMap& map) {
  // Through the runtime, so that the driver need not be there to load this library.
  static void* const entry = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
    return error == cudaSuccess && result == cudaDriverEntryPointSuccess ? found : nullptr;
  }();
  if (!entry) return cudaErrorNotSupported;
  if (rows < 1 || (line != 64 && line != 128)) return cudaErrorInvalidValue;
  const cuuint64_t extents[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(box_columns), static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1};
  CUtensorMap made;
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry)(
      &made, type, 2, const_cast<void*>(matrix), extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      line == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) return cudaErrorInvalidValue;
  std::memcpy(&map, &made, sizeof made);
  return cudaSuccess;
}

}  // namespace

cudaError_t map_matrix(const void* matrix, Element element, int64_t rows, int64_t columns, int64_t stride, int box_rows,
                       int box_columns, TensorMap& map) {
  if (element == Element::f32) return cudaErrorInvalidValue;
  return encode(matrix, element == Element::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, rows,
                columns, stride * 2, box_rows, box_columns, box_columns * 2, map);
}

cudaError_t map_bytes(const void* matrix, int64_t rows, int64_t columns, int box_rows, int box_columns, TensorMap& map) {
  return encode(matrix, CU_TENSOR_MAP_DATA_TYPE_UINT8, rows, columns, columns, box_rows, box_columns, box_columns, map);
}

}  // namespace bertie::cuda
