// Test data of the cpu backend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace bertie::cpu {

inline std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

}  // namespace bertie::cpu
