#include "base/panels.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/message_of_test.h"

namespace bertie {
namespace {

Tensor numbered(int64_t n, int64_t k) {
  std::vector<float> values(static_cast<size_t>(n * k));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.5f + static_cast<float>(i);
  return Tensor::from_floats({n, k}, values);
}

std::vector<float> packed(const Tensor& weight) {
  std::vector<float> panels(panel_bytes(weight.dtype, weight.shape) / sizeof(float), -1.0f);
  pack_panel_lines(weight.view(), 0, panel_count(weight.shape[0]) * weight.shape[1], panels.data());
  return panels;
}

struct PanelsOf : testing::TestWithParam<std::pair<int64_t, int64_t>> {};

TEST_P(PanelsOf, EveryElementStandsWhereTheLayoutSays) {
  const auto [n, k] = GetParam();
  const Tensor weight = numbered(n, k);
  const std::vector<float> panels = packed(weight);
  ASSERT_EQ(panels.size(), static_cast<size_t>((n + 15) / 16 * 16 * k));
  for (int64_t p = 0; p < panel_count(n); ++p) {
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t c = 0; c < 16; ++c) {
        const int64_t row = 16 * p + c;
        const float expected = row < n ? 0.5f + static_cast<float>(row * k + i) : 0.0f;
        ASSERT_EQ(panels[static_cast<size_t>((p * k + i) * 16 + c)], expected) << row << ", " << i;
      }
    }
  }
}

TEST_P(PanelsOf, PiecesOfLinesMakeTheWhole) {
  const auto [n, k] = GetParam();
  const Tensor weight = numbered(n, k);
  const int64_t lines = panel_count(n) * k;
  std::vector<float> pieces(static_cast<size_t>(lines * 16));
  for (int64_t first = 0; first < lines; first += 7) {
    pack_panel_lines(weight.view(), first, std::min(lines, first + 7), pieces.data() + first * 16);
  }
  EXPECT_EQ(pieces, packed(weight));
}

TEST_P(PanelsOf, RowMajorComesBack) {
  const auto [n, k] = GetParam();
  const Tensor weight = numbered(n, k);
  auto panels = std::make_shared<std::vector<float>>(packed(weight));
  const Tensor tensor{DType::f32, weight.shape, std::shared_ptr<const void>(panels, panels->data()), TensorLayout::panels_16};
  EXPECT_EQ(tensor.bytes(), panels->size() * sizeof(float));
  const Tensor rows = tensor.row_major();
  EXPECT_EQ(rows.layout, TensorLayout::rows);
  EXPECT_EQ(rows.bytes(), weight.bytes());
  EXPECT_EQ(std::memcmp(rows.data.get(), weight.data.get(), weight.bytes()), 0);
  EXPECT_THAT(message_of([&] { tensor.view(); }), testing::HasSubstr("panels_16 has no row-major view"));
}

// Eight bits: every element, zeros behind the ends, pieces of lines, and back.
TEST_P(PanelsOf, EightBits) {
  const auto [n, k] = GetParam();
  std::vector<int8_t> values(static_cast<size_t>(n * k));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int8_t>(i % 127 + 1);
  const TensorView weight{values.data(), DType::i8, {n, k}};
  const int64_t depth = (k + 63) / 64 * 64, lines = panel_count(n) * depth / 4;
  std::vector<int8_t> panels(int8_panel_bytes(weight.shape), -1);
  ASSERT_EQ(panels.size(), static_cast<size_t>(lines * 64));
  for (int64_t first = 0; first < lines; first += 7)
    pack_int8_panel_lines(weight, first, std::min(lines, first + 7), panels.data() + first * 64);
  for (int64_t row = 0; row < panel_count(n) * 16; ++row) {
    for (int64_t i = 0; i < depth; ++i) {
      const int8_t expected = row < n && i < k ? values[static_cast<size_t>(row * k + i)] : int8_t{0};
      ASSERT_EQ(panels[static_cast<size_t>((row / 16 * depth / 4 + i / 4) * 64 + row % 16 * 4 + i % 4)], expected)
          << row << ", " << i;
    }
  }
  const Tensor tensor{DType::i8, weight.shape, std::shared_ptr<const void>(std::shared_ptr<void>(), panels.data()),
                      TensorLayout::panels_16x4};
  EXPECT_EQ(tensor.bytes(), panels.size());
  const Tensor rows = tensor.row_major();
  ASSERT_EQ(rows.bytes(), values.size());
  EXPECT_TRUE(std::equal(values.begin(), values.end(), rows.view().as<int8_t>()));
}

INSTANTIATE_TEST_SUITE_P(Shapes, PanelsOf,
                         testing::Values(std::pair{0, 3}, std::pair{3, 0}, std::pair{1, 1}, std::pair{15, 4}, std::pair{16, 5},
                                         std::pair{17, 8}, std::pair{33, 17}, std::pair{17, 64}, std::pair{16, 129}));

// 16 bits stay as they are, in pieces of lines too, and come back.
TEST_P(PanelsOf, Halves) {
  const auto [n, k] = GetParam();
  std::vector<uint16_t> values(static_cast<size_t>(n * k));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i * 31 + 1);
  const int64_t lines = panel_count(n) * k;
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const TensorView weight{values.data(), dtype, {n, k}};
    std::vector<uint16_t> panels(panel_bytes(dtype, weight.shape) / 2, 0xffff);
    ASSERT_EQ(panels.size(), static_cast<size_t>(lines * 16));
    for (int64_t first = 0; first < lines; first += 7)
      pack_panel_lines(weight, first, std::min(lines, first + 7), panels.data() + first * 16);
    for (int64_t row = 0; row < panel_count(n) * 16; ++row)
      for (int64_t i = 0; i < k; ++i)
        ASSERT_EQ(panels[static_cast<size_t>((row / 16 * k + i) * 16 + row % 16)],
                  row < n ? values[static_cast<size_t>(row * k + i)] : 0);
    const Tensor tensor{dtype, weight.shape, std::shared_ptr<const void>(std::shared_ptr<void>(), panels.data()),
                        TensorLayout::panels_16};
    EXPECT_EQ(tensor.bytes(), panels.size() * 2);
    const Tensor rows = tensor.row_major();
    EXPECT_EQ(rows.dtype, dtype);
    ASSERT_EQ(rows.bytes(), values.size() * 2);
    EXPECT_TRUE(std::equal(values.begin(), values.end(), rows.view().as<uint16_t>()));
  }
}

}  // namespace
}  // namespace bertie
