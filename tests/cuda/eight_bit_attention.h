// What the tests of attention in int8 and in fp8 have in common.
#pragma once

#include <algorithm>
#include <vector>

#include "tests/support/op_runner.h"

namespace bertie::test {

inline constexpr DType kStored[] = {DType::f32, DType::f16, DType::bf16};

inline bool takes_in_eight_bits(const OpCase& c) {
  const int64_t heads = std::get<int64_t>(c.attributes.at("heads"));
  const bool packed_qkv = c.attributes.contains("packed_qkv");
  const int64_t head_dim = c.inputs[0].tensor.shape.back() / heads / (packed_qkv ? 3 : 1);
  return head_dim <= 128 && head_dim % 8 == 0;
}

// The case with q, k and v rounded to `dtype`: as they are kept in it, and the same numbers in f32 for the reference.
struct Rounded {
  Rounded(OpCase c, DType dtype) : kept(c), wide(std::move(c)) {
    for (size_t i = 0; i < std::min<size_t>(3, wide.inputs.size()); ++i) {
      const Tensor from = wide.inputs[i].tensor;
      if (!from.data) continue;
      const float* values = from.view().as<float>();
      const Tensor tensor = tensor_of(from.shape, std::vector<float>(values, values + from.shape.elements()), dtype);
      std::vector<float> numbers(static_cast<size_t>(from.shape.elements()));
      for (size_t k = 0; k < numbers.size(); ++k) numbers[k] = float_element(tensor.view(), k);
      wide.inputs[i].tensor = tensor_of(from.shape, numbers);
      kept.inputs[i].tensor = tensor;
    }
  }
  OpCase kept, wide;
};

}  // namespace bertie::test
