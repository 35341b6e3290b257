// NumPy's .npy files (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "bertie/tensor.h"

namespace bertie {

// Versions 1 to 3; f32, f64, f16, i8, u8, i32, i64 and bool, little-endian; C order aliases `bytes`, which `owner` keeps alive
// (unless misaligned), Fortran order is copied into C order. Throws Error(invalid_file), and Error(unsupported) naming the dtype.
Tensor parse_npy(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, const std::string& file);

// Maps the file. Throws Error(not_found, io) too.
Tensor read_npy(const std::string& path);

// The file's bytes (version 1.0, C order). Throws Error(unsupported) for bf16, which NumPy lacks.
std::string format_npy(const TensorView& tensor);
// Throws Error(io) too.
void write_npy(const std::string& path, const TensorView& tensor);

}  // namespace bertie
