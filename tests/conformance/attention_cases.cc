// Attention over packed and over padded rows.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/conformance/cases.h"

namespace bertie::test {

std::string AttentionShape::name() const {
  return fmt::format("attention {} x {} of {}{}{}{}{}{}", heads, head_dim, fmt::join(lengths, ","), packed_qkv ? " packed" : "",
                     relative_bias ? " bias" : "", holes ? " holes" : "", query_rows.empty() ? "" : " rows",
                     queries_only.empty() ? "" : " queries only");
}

ConformanceCase attention_case(const AttentionShape& shape) {
  ConformanceCase result;
  result.name = shape.name();
  auto random = generator(result.name);
  const int64_t tokens = total_of(shape.lengths), width = shape.heads * shape.head_dim;
  OpCase& op = result.op;
  op.op = "attention";
  op.attributes = {{"heads", shape.heads}, {"scale", 1 / std::sqrt(static_cast<double>(shape.head_dim))}};
  op.lengths = shape.lengths;
  op.queries_only = shape.queries_only;
  op.inputs.resize(6);
  if (shape.packed_qkv) {
    op.attributes["packed_qkv"] = int64_t{1};
    op.inputs[0] = {random_tensor(random, {tokens, 3 * width})};
  } else {
    for (size_t i = 0; i < 3; ++i) op.inputs[i] = {random_tensor(random, {tokens, width})};
  }
  int64_t places = 1;  // P of the relative bias
  for (int64_t length : shape.lengths) {
    for (int64_t i = 0; i < length; ++i) {
      const int64_t column = shape.holes ? i + i / 3 : i;
      if (shape.holes) op.columns.push_back(static_cast<int32_t>(column));
      places = std::max(places, column + 1);
    }
  }
  if (shape.relative_bias) op.inputs[4] = {random_tensor(random, {shape.heads, 2 * places - 1}), true};
  if (!shape.query_rows.empty()) op.inputs[5] = {indices({static_cast<int64_t>(shape.query_rows.size())}, shape.query_rows)};
  // A score is a few units, so its error is a few epsilons of the dot product's length; the values are at most about 5.
  result.element_bound = sum_bound(shape.head_dim + 128, 5);
  return result;
}

std::vector<ConformanceCase> attention_cases() {
  std::vector<ConformanceCase> cases;
  for (int64_t head_dim : {1, 7, 8, 15, 16, 17, 31, 32, 33, 40, 48, 64, 80, 96, 112, 128, 200, 256}) {
    cases.push_back(attention_case({.head_dim = head_dim, .lengths = {19, 1, 130}}));
  }
  for (int64_t length :
       {0, 1, 2, 3, 5, 6, 7, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 384}) {
    cases.push_back(attention_case({.heads = 1, .head_dim = 32, .lengths = {length}}));
  }
  for (int64_t head_dim : {64, 128}) {
    cases.push_back(
        attention_case({.heads = 2, .head_dim = head_dim, .lengths = {0, 1, 127, 128, 129, 64, 255, 256, 257, 300, 513}}));
    cases.push_back(
        attention_case({.heads = 2, .head_dim = head_dim, .lengths = {200, 33}, .relative_bias = true, .holes = true}));
  }
  for (bool packed_qkv : {true, false}) {
    for (bool relative_bias : {false, true}) {
      for (bool holes : {false, true}) {
        AttentionShape shape{.heads = 3,
                             .head_dim = 32,
                             .lengths = {0, 17, 1, 0, 140, 33, 0},
                             .packed_qkv = packed_qkv,
                             .relative_bias = relative_bias,
                             .holes = holes};
        cases.push_back(attention_case(shape));
        shape.query_rows = {0, 16, 17, 20, 20, 157, 158, 190};
        cases.push_back(attention_case(shape));
        shape.queries_only = {0, 1, 1, 0, 1, 17, 0};
        cases.push_back(attention_case(shape));
        shape.query_rows = {};
        cases.push_back(attention_case(shape));
      }
    }
  }
  cases.push_back(attention_case({.heads = 4, .head_dim = 16, .lengths = {511, 512, 513, 1025}}));
  cases.push_back(attention_case({.heads = 12, .head_dim = 64, .lengths = {128, 9}}));
  cases.push_back(attention_case({.heads = 12, .head_dim = 32, .lengths = std::vector<int64_t>(40, 12)}));
  std::vector<int64_t> many;  // with as many heads more than there are blocks at a time on a large GPU, several times
  for (int64_t i = 0; i < 90; ++i) many.push_back(i % 45 == 0 ? 200 + i : i * 37 % 31);
  for (int64_t head_dim : {32, 64, 128}) cases.push_back(attention_case({.heads = 8, .head_dim = head_dim, .lengths = many}));
  cases.push_back(attention_case({.heads = 8, .head_dim = 64, .lengths = many, .relative_bias = true}));
  // First rows of sequences, the last of which is empty: its row T does not exist and gives zeros.
  cases.push_back(attention_case({.lengths = {3, 5, 0}, .query_rows = {0, 3, 8}}));
  cases.push_back(
      attention_case({.heads = 1, .head_dim = 8, .lengths = {8192}, .relative_bias = true, .query_rows = {0, 1, 4095, 8191}}));
  return cases;
}

namespace {

// Without a mask or a bias, which are put behind q, k and v; `random`: what they are made of.
struct PaddedAttention {
  PaddedAttention(std::string name, int64_t batch, int64_t length, int64_t heads, int64_t head_dim) {
    result.name = std::move(name);
    random = generator(result.name);
    result.op.op = "attention";
    result.op.attributes = {{"heads", heads}, {"scale", 0.2}};
    result.op.inputs.resize(7);
    for (size_t i = 0; i < 3; ++i) result.op.inputs[i] = {random_tensor(random, {batch, length, heads * head_dim})};
    result.element_bound = sum_bound(head_dim + 128, 5);
  }
  Operand& mask() { return result.op.inputs[3]; }
  Operand& relative_bias() { return result.op.inputs[4]; }
  Operand& bias() { return result.op.inputs[6]; }
  ConformanceCase result;
  std::mt19937 random;
};

}  // namespace

std::vector<ConformanceCase> padded_attention_cases() {
  std::vector<ConformanceCase> cases;
  for (DType mask : {DType::f64, DType::i32, DType::i64, DType::f32}) {  // f64 stands for none
    for (bool relative_bias : {false, true}) {
      const int64_t batch = 3, length = 21, heads = 2;
      PaddedAttention c(fmt::format("attention padded, mask {}{}", mask == DType::f64 ? "none" : dtype_name(mask),
                                    relative_bias ? " bias" : ""),
                        batch, length, heads, 32);
      if (mask != DType::f64) {
        const std::vector<int64_t> keep = random_ids(c.random, batch * length, 2);
        const bool is_float = mask == DType::f32;
        c.mask() = {is_float ? tensor_of({batch, length}, std::vector<float>(keep.begin(), keep.end()))
                             : indices({batch, length}, keep, mask)};
      }
      if (relative_bias) c.relative_bias() = {random_tensor(c.random, {heads, 2 * length - 1}), true};
      cases.push_back(c.result);
    }
  }
  // Edges of tiles of queries and of pieces of keys; every second sequence has no key that counts.
  for (const int64_t head_dim : {40, 64, 128})
    for (const int64_t length : {1, 64, 65, 130}) {
      PaddedAttention c(fmt::format("attention padded to {}, heads of {}", length, head_dim), 2, length, 2, head_dim);
      std::vector<int64_t> keep = random_ids(c.random, 2 * length, 2);
      keep[0] = 1;
      std::fill(keep.begin() + length, keep.end(), 0);
      c.mask() = {indices({2, length}, keep, DType::i64)};
      cases.push_back(c.result);
    }
  // A bias by query and key, shared along each axis or not; the second query may attend to no key at all, and weighs them alike.
  for (const Shape& shape : {Shape{1, 1, 70, 70}, Shape{3, 1, 1, 70}, Shape{1, 2, 70, 70}, Shape{3, 2, 70, 70}})
    for (const bool masked : {false, true}) {
      const int64_t batch = 3, length = 70;
      PaddedAttention c(fmt::format("attention padded, bias {}{}", shape.to_string(), masked ? ", mask" : ""), batch, length, 2,
                        64);
      if (masked) c.mask() = {indices({batch, length}, random_ids(c.random, batch * length, 2), DType::i64)};
      const Tensor normal = random_tensor(c.random, shape);
      std::vector<float> values(normal.view().as<float>(), normal.view().as<float>() + shape.elements());
      for (size_t i = 0; i < values.size(); ++i) {
        if (c.random() % 4 == 0) values[i] = -std::numeric_limits<float>::infinity();
        if (c.random() % 8 == 0) values[i] = std::numeric_limits<float>::lowest();
        if (shape[2] > 1 && i / static_cast<size_t>(length) % static_cast<size_t>(length) == 1)
          values[i] = -std::numeric_limits<float>::infinity();
      }
      c.bias() = {tensor_of(shape, values)};
      cases.push_back(c.result);
    }
  return cases;
}

namespace {
constexpr int64_t kNanLength = 70, kNanWidth = 64, kNanQuery = 66, kNanKey = 69;
}  // namespace

NanBiasCase::NanBiasCase() : op{"attention", {{"heads", int64_t{1}}, {"scale", 0.2}}, {}, {}, {}} {
  std::mt19937 random(3);
  std::vector<float> bias(kNanLength * kNanLength, 0.0f);
  bias[kNanQuery * kNanLength + kNanKey] = std::numeric_limits<float>::quiet_NaN();
  for (int i = 0; i < 3; ++i) op.inputs.push_back({random_tensor(random, {1, kNanLength, kNanWidth})});
  op.inputs.resize(7);
  op.inputs[6] = {tensor_of({1, 1, kNanLength, kNanLength}, bias)};
}

void NanBiasCase::check(const OpResult& result, std::string_view name) const {
  ASSERT_EQ(result.values.size(), static_cast<size_t>(kNanLength * kNanWidth)) << name << ": " << result.refusal;
  for (int64_t i = 0; i < kNanLength * kNanWidth; ++i)
    ASSERT_EQ(std::isnan(result.values[static_cast<size_t>(i)]), i / kNanWidth == kNanQuery) << name << ", " << i;
}

}  // namespace bertie::test
