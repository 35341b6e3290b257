// What the tests of attention in int8 and in fp8 have in common.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "base/float_element.h"
#include "tests/conformance/cases.h"

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

// check(op, dtype, name): heads of every kind, sequences about the edges of tiles, all of their rows and some.
template <typename Check>
void for_each_case_in_16_bits(Check check) {
  for (const DType dtype : {DType::f16, DType::bf16})
    for (const int64_t head_dim : {8, 32, 40, 64, 96, 128})
      for (const bool relative_bias : {false, true}) {
        AttentionShape shape{.head_dim = head_dim,
                             .lengths = {0, 1, 15, 16, 17, 127, 128, 129, 0, 300},
                             .packed_qkv = !relative_bias,
                             .relative_bias = relative_bias,
                             .holes = relative_bias};
        const ConformanceCase whole = attention_case(shape);
        check(whole.op, dtype, whole.name);
        shape.query_rows = {0, 1, 15, 16, 48, 303, 304, 432, 432, 732};
        const ConformanceCase few = attention_case(shape);
        check(few.op, dtype, few.name);
      }
}

// check(op, dtype, name): one number of q, k or v in the first block of keys or the second is not finite.
template <typename Check>
void for_each_case_that_is_not_finite(Check check) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  std::mt19937 random(22);
  constexpr int64_t kLength = 150, kHeadDim = 64;
  const Attributes attributes = {{"heads", int64_t{1}}, {"scale", 0.3}, {"packed_qkv", int64_t{1}}};
  const Tensor usual = random_tensor(random, {kLength + 7, 3 * kHeadDim});
  const float* from = usual.view().as<float>();
  for (const float bad : {kNan, kInfinity, -kInfinity})
    for (const int64_t part : {0, 1, 2})
      for (const int64_t row : {0, 140}) {
        std::vector<float> x(from, from + usual.shape.elements());
        x[static_cast<size_t>(row * 3 * kHeadDim + part * kHeadDim + 3)] = bad;
        const OpCase c{"attention", attributes, {{tensor_of(usual.shape, x)}}, {kLength, 7}, {}};
        for (const DType dtype : kStored) check(c, dtype, fmt::format("{} in {}, row {}", bad, part, row));
      }
}

// Of a sequence alone `run`, which gives an op's values, has the bits that it has of it among others.
template <typename Run>
void expect_no_dependence_on_neighbours(Run run) {
  std::mt19937 random(21);
  constexpr int64_t kWidth = 3 * 2 * 64;
  const Tensor rows = random_tensor(random, {470, kWidth});
  const auto attend = [&](const Tensor& of, const std::vector<int64_t>& lengths) {
    const Attributes attributes = {{"heads", int64_t{2}}, {"scale", 0.2}, {"packed_qkv", int64_t{1}}};
    return run(Rounded({"attention", attributes, {{of}}, lengths, {}}, DType::f16).kept);
  };
  const std::vector<float> all = attend(rows, {200, 1, 0, 140, 129});
  int64_t begin = 0;
  for (const int64_t length : {200, 1, 0, 140, 129}) {
    const Tensor own = slice_rows(rows, begin, length);
    expect_same_bits(fmt::format("length {}", length), attend(own, {length}),
                     std::span(all).subspan(static_cast<size_t>(begin * kWidth / 3), static_cast<size_t>(length * kWidth / 3)));
    begin += length;
  }
}

}  // namespace bertie::test
