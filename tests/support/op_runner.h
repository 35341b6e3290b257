// Runs one op on one backend, outside any engine.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "backend/kernel.h"

namespace bertie::test {

struct Operand {
  Tensor tensor;  // without data: the input is left out
  bool constant = false;
};

struct OpCase {
  std::string op;
  Attributes attributes;
  std::vector<Operand> inputs;             // in the op's order
  std::vector<int64_t> lengths;            // of the packed sequences; empty where the op does not ask
  std::vector<int32_t> columns;            // of the packed tokens; empty: 0, 1, ... in each sequence
  std::vector<int32_t> queries_only = {};  // of the packed sequences; empty: none
};

struct OpResult {
  std::string kernel;   // empty where every kernel of the backend refused
  std::string refusal;  // the last one's reason
  Shape shape;
  std::vector<float> values;  // widened
};

// The op's first output must be floating. Output and workspace are filled with NaN first, so that an element left unwritten or scratch read before it was written shows;
// bytes written behind either end throw std::logic_error.
OpResult run_op(const Backend& backend, const OpCase& op_case, int threads = 1);

// Standard normal values, each rounded to `dtype` (f32, f16, bf16 or f64), scaled and shifted.
Tensor random_tensor(std::mt19937& random, const Shape& shape, DType dtype = DType::f32, float scale = 1, float shift = 0);
Tensor tensor_of(const Shape& shape, const std::vector<float>& values, DType dtype = DType::f32);
Tensor indices(const Shape& shape, const std::vector<int64_t>& values, DType dtype = DType::i32);

}  // namespace bertie::test
