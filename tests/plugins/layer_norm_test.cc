// The stages of examples/layer_norm_plugin against float64, through the library and the engine's plugin kernels.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "backend/plugin_kernels.h"
#include "base/float16.h"
#include "bertie/plugin.h"
#include "examples/layer_norm_plugin/stages.h"
#include "tests/support/op_runner.h"

namespace layer_norm {
namespace generic {
void normalise_vectors(const Rows& rows, int64_t begin, int64_t end);
}
namespace avx2 {
void normalise_vectors(const Rows& rows, int64_t begin, int64_t end);
}
namespace avx512 {
void normalise_vectors(const Rows& rows, int64_t begin, int64_t end);
}
}  // namespace layer_norm

namespace bertie::test {
namespace {

constexpr double kEpsilon = 1e-12;  // BERT's
constexpr double kUnit = 0x1p-24;   // rounding of a float32, relative

// What a row holds.
enum class Content { normal, huge, tiny, mixed, constant, large_mean };
constexpr std::pair<Content, const char*> kContents[] = {{Content::normal, "normal"},     {Content::huge, "huge"},
                                                         {Content::tiny, "tiny"},         {Content::mixed, "mixed"},
                                                         {Content::constant, "constant"}, {Content::large_mean, "large_mean"}};

std::vector<float> row_values(std::mt19937& random, Content content, DType dtype, int64_t extent) {
  std::normal_distribution<float> normal;
  const bool half = dtype == DType::f16;
  const float constant = normal(random);
  std::vector<float> values(static_cast<size_t>(extent));
  for (size_t i = 0; i < values.size(); ++i) {
    const float z = normal(random);
    switch (content) {
      case Content::normal: values[i] = z; break;
      case Content::huge: values[i] = z * (half ? 15000.0f : 1e16f); break;
      case Content::tiny: values[i] = z * (half ? 1e-7f : 1e-30f); break;  // half: subnormal
      case Content::mixed: values[i] = z * (i % 7 ? 1e-3f : 1e4f); break;
      case Content::constant: values[i] = constant; break;
      case Content::large_mean: values[i] = z + 1000.0f; break;
    }
    if (half) values[i] = f16_to_float(float_to_f16(std::clamp(values[i], -65504.0f, 65504.0f)));
  }
  return values;
}

struct Element {
  double value, bound;
};

// LayerNorm of a row in float64, and how far float32 may be from it: `additions` roundings in the longest chain of a sum.
std::vector<Element> expected_row(const float* x, const std::vector<float>& gamma, const std::vector<float>& beta,
                                  double additions, bool half) {
  const double n = static_cast<double>(gamma.size());
  double sum = 0, magnitude = 0, squares = 0;
  for (size_t i = 0; i < gamma.size(); ++i) {
    sum += x[i];
    magnitude += std::fabs(x[i]);
  }
  const double mean = sum / n;
  for (size_t i = 0; i < gamma.size(); ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double variance = squares / n, deviation = std::sqrt(variance + kEpsilon);
  // A sum is off by at most `additions` roundings of the sum of magnitudes. A shifted mean adds its square to the variance; the
  // differences, squares and the sum of them round relatively.
  const double mean_error = (additions + 2) * kUnit * magnitude / n;
  const double variance_error = mean_error * mean_error * (1 + (additions + 8) * kUnit) + (additions + 8) * kUnit * variance +
                                4 * kUnit * magnitude / n * std::sqrt(variance);
  const double lowest = std::sqrt(std::max(variance - variance_error, 0.0) + kEpsilon);  // of the computed deviation
  const double deviation_error = variance_error / (2 * lowest * deviation) + 4 * kUnit;  // relative
  std::vector<Element> row;
  for (size_t i = 0; i < gamma.size(); ++i) {
    const double centred = x[i] - mean, scale = std::fabs(gamma[i]) / lowest;
    const double value = centred / deviation * gamma[i] + beta[i];
    double bound = scale * (mean_error + kUnit * std::fabs(centred)) +
                   scale * std::fabs(centred) * (deviation_error + 6 * kUnit) +
                   4 * kUnit * (std::fabs(beta[i]) + std::fabs(value));
    if (half) bound += 0x1p-11 * (std::fabs(value) + bound) + 0x1p-25;
    row.push_back({value, bound});
  }
  return row;
}

struct StageCase {
  int64_t stage;
  DType dtype;
};

class LayerNormPluginTest : public testing::TestWithParam<StageCase> {
 protected:
  static void SetUpTestSuite() { load_plugin(LAYER_NORM_PLUGIN); }
};

TEST_P(LayerNormPluginTest, EqualsFloat64) {
  const auto [stage, dtype] = GetParam();
  const bool half = dtype == DType::f16;
  std::mt19937 random(11);
  for (int64_t extent : {1, 2, 15, 16, 17, 63, 64, 65, 127, 384, 768, 1023, 1024, 4096}) {
    const Tensor gamma = random_tensor(random, {extent}, DType::f32, 0.5f, 1.0f), beta = random_tensor(random, {extent});
    const std::vector<float> gammas(gamma.view().as<float>(), gamma.view().as<float>() + extent);
    const std::vector<float> betas(beta.view().as<float>(), beta.view().as<float>() + extent);
    for (const auto& [content, name] : kContents) {
      for (int64_t rows : {0, 1, 3, 50}) {
        if (rows == 50 && extent > 768) continue;
        std::vector<float> values;
        for (int64_t row = 0; row < rows; ++row) {
          const auto own = row_values(random, content, dtype, extent);
          values.insert(values.end(), own.begin(), own.end());
        }
        // Without lengths the workspace is for a single row: stage 1 takes the rows in turns.
        const std::vector<int64_t> lengths = rows == 3 ? std::vector<int64_t>() : std::vector<int64_t>{rows};
        const OpCase op_case{"bertie.examples::LayerNorm",
                             {{"epsilon", kEpsilon}, {"stage", stage}},
                             {{tensor_of({rows, extent}, values, dtype)}, {gamma, true}, {beta, true}},
                             lengths,
                             {}};
        const OpResult result = run_op(plugin_cpu_backend(), op_case, rows == 50 ? 3 : 1);
        ASSERT_EQ(result.kernel, "plugin layer_norm v1.0") << result.refusal;
        ASSERT_EQ(result.values.size(), values.size());
        // A chain of stage 3's sums: a lane's share of the row, then lanes and vectors onto each other.
        const double additions = stage == 3 ? static_cast<double>(extent) / 64 + 4 + 6 : static_cast<double>(extent);
        double error = 0, norm = 0, bound_norm = 0;
        for (int64_t row = 0; row < rows; ++row) {
          const auto expected = expected_row(values.data() + row * extent, gammas, betas, additions, half);
          for (size_t i = 0; i < expected.size(); ++i) {
            const double got = result.values[static_cast<size_t>(row * extent) + i], off = std::fabs(got - expected[i].value);
            ASSERT_LE(off, expected[i].bound) << name << " [" << rows << ", " << extent << "], first bad: row " << row
                                              << " element " << i << " is " << got << ", expected " << expected[i].value;
            error += off * off;
            norm += expected[i].value * expected[i].value;
            bound_norm += expected[i].bound * expected[i].bound;
          }
        }
        // Of the whole, far below what the elements' worst cases add up to; ordinary rows to a fixed figure.
        EXPECT_LE(std::sqrt(error), 0.8 * std::sqrt(bound_norm)) << name << " [" << rows << ", " << extent << "]";
        if (content == Content::normal && extent > 2) {
          EXPECT_LE(std::sqrt(error), (half ? 4e-4 : 1e-6) * std::sqrt(norm)) << extent;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Stages, LayerNormPluginTest,
                         testing::Values(StageCase{1, DType::f32}, StageCase{2, DType::f32}, StageCase{3, DType::f32},
                                         StageCase{3, DType::f16}),
                         [](const auto& info) {
                           return "stage_" + std::to_string(info.param.stage) + "_" + std::string(dtype_name(info.param.dtype));
                         });

TEST(LayerNormPluginBitsTest, StagesOneAndTwoAgreeToTheBitAndThreadsChangeNothing) {
  load_plugin(LAYER_NORM_PLUGIN);
  std::mt19937 random(5);
  const int64_t rows = 200, extent = 385;
  const Tensor x = random_tensor(random, {rows, extent}), gamma = random_tensor(random, {extent}),
               beta = random_tensor(random, {extent});
  const auto run = [&](int64_t stage, int threads) {
    const OpCase op_case{
        "bertie.examples::LayerNorm", {{"epsilon", kEpsilon}, {"stage", stage}}, {{x}, {gamma, true}, {beta, true}}, {rows}, {}};
    return run_op(plugin_cpu_backend(), op_case, threads).values;
  };
  EXPECT_EQ(run(1, 1), run(2, 1));
  EXPECT_EQ(run(3, 1), run(3, 4));
}

TEST(LayerNormPluginBitsTest, EveryInstructionSetGivesTheSame) {
  std::mt19937 random(6);
  for (int64_t extent : {1, 15, 16, 17, 64, 80, 1000}) {
    const int64_t rows = 20;
    for (DType dtype : {DType::f32, DType::f16}) {
      const Tensor x = random_tensor(random, {rows, extent}, dtype, 100.0f);
      const Tensor gamma = random_tensor(random, {extent}), beta = random_tensor(random, {extent});
      const auto run = [&](layer_norm::NormaliseVectors stage) {
        std::vector<std::byte> out(x.bytes());
        stage({x.data.get(), out.data(), dtype == DType::f16, gamma.view().as<float>(), beta.view().as<float>(), extent, 1e-12f},
              0, rows);
        return out;
      };
      const auto generic = run(layer_norm::generic::normalise_vectors);
#if defined(LAYER_NORM_X86)
      if (__builtin_cpu_supports("avx2")) {
        EXPECT_EQ(run(layer_norm::avx2::normalise_vectors), generic) << extent;
      }
      if (__builtin_cpu_supports("avx512f")) {
        EXPECT_EQ(run(layer_norm::avx512::normalise_vectors), generic) << extent;
      }
#endif
    }
  }
}

// All 65536 half values, infinities and NaNs too, go in and out as the processor itself converts them.
TEST(LayerNormPluginBitsTest, HalvesAreReadAndWrittenExactly) {
  const float one = 1, zero = 0;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t x = static_cast<uint16_t>(bits);
    const auto run = [&](layer_norm::NormaliseVectors stage) {
      uint16_t out = 0;
      const float beta = f16_to_float(x);  // of one element the result is beta, whatever x, if x is finite
      stage({&x, &out, true, &one, std::isfinite(beta) ? &beta : &zero, 1, 1e-12f}, 0, 1);
      return out;
    };
    const uint16_t got = run(layer_norm::generic::normalise_vectors);
    if (std::isfinite(f16_to_float(x))) {
      ASSERT_EQ(got, x) << bits;
    } else {
      ASSERT_TRUE(std::isnan(f16_to_float(got))) << bits;
    }
#if defined(LAYER_NORM_X86)
    if (__builtin_cpu_supports("avx2") && std::isfinite(f16_to_float(x))) {
      ASSERT_EQ(run(layer_norm::avx2::normalise_vectors), got);
    }
#endif
  }
}

}  // namespace
}  // namespace bertie::test
