// Maps of matrices for the bulk tensor copy engine.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

// What the driver calls CUtensorMap; a kernel takes it by value, as a __grid_constant__.
struct alignas(128) TensorMap {
  unsigned char bytes[128];
};

// A row-major matrix of 16-bit elements, [rows, columns] with `stride` elements from row to row, read in boxes of [box_rows, box_columns]
// whose lines, of 64 or 128 bytes, are swizzled over their whole width. What lies outside reads as zeros. The matrix is 16-byte aligned, the
// stride a multiple of 8.
cudaError_t map_matrix(const void* matrix, Element element, int64_t rows, int64_t columns, int64_t stride, int box_rows,
                       int box_columns, TensorMap& map);
// The same of bytes: lines are of 64 or 128 of them, and rows lie `columns` apart, a multiple of 16.
cudaError_t map_bytes(const void* matrix, int64_t rows, int64_t columns, int box_rows, int box_columns, TensorMap& map);

}  // namespace bertie::cuda
