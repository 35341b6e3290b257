// Tensors in eight bits: integers (i8), and codes of e4m3 (u8).
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "bertie/tensor.h"

namespace bertie::test {

Tensor integers_of(const Shape& shape, std::vector<int8_t> integers);
Tensor codes_of(const Shape& shape, std::vector<uint8_t> codes);

// In [-127, 127], each as likely.
Tensor random_integers(std::mt19937& random, const Shape& shape);
// Of normal values of this standard deviation.
Tensor random_codes(std::mt19937& random, const Shape& shape, float scale);

// Neighbouring codes are neighbouring numbers; NaN is the largest.
inline int ordered(uint8_t code) { return code & 0x80 ? -(code & 0x7f) : code & 0x7f; }

}  // namespace bertie::test
