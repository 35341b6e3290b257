// cluster_linear in eight bits by its launcher: of integers the rule's bits and wgmma_linear's, of e4m3 what lies near sums in double.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda/kernels/cluster_linear.h"
#include "quant/fp8.h"
#include "quant/int8.h"
#include "tests/cuda/hopper_linear.h"
#include "tests/support/eight_bits.h"

namespace bertie::test {
namespace {

using cuda::Activation;
using cuda::ClusterLinearParams;
using cuda::ClusterLinearTile;
using cuda::Element;
using cuda::LinearOperands;
using cuda::WgmmaLinearParams;

constexpr ClusterLinearTile kTiles[] = {{64, 64, 1}, {64, 64, 2}, {64, 64, 4}, {128, 64, 1}, {128, 128, 1}};
constexpr LinearOperands kKinds[] = {LinearOperands::int8, LinearOperands::fp8};
constexpr std::byte kUntouched{0xff};
constexpr size_t kGuard = 256;  // bytes behind results

struct Problem {
  LinearOperands kind;
  int64_t rows, columns, depth;
  bool one_scale = false, bias = true;

  bool fp8() const { return kind == LinearOperands::fp8; }
  std::string name() const {
    return fmt::format("{} {}x{}x{}{}{}", fp8() ? "fp8" : "int8", rows, columns, depth, one_scale ? ", one scale" : "",
                       bias ? "" : ", no bias");
  }
};

struct Form {
  Activation activation;
  bool quantizes;
};
constexpr Form kForms[] = {
    {Activation::none, false}, {Activation::gelu, false}, {Activation::none, true}, {Activation::gelu, true}};

double gelu_of(double x) { return 0.5 * x * (1 + std::erf(x * std::sqrt(0.5))); }

// What a result lies between, before GELU and behind it, f16 or what eight bits are made of.
struct Expected {
  double sum, off;
  double value(const Form& form) const { return form.activation == Activation::gelu ? gelu_of(sum) : sum; }
  double bound(const Form& form) const {
    if (form.activation == Activation::none) return off;
    const double own = std::abs(gelu_of(sum));  // the slope of GELU is at most 1.13; gelu.cuh says how near it is
    return 1.13 * off + (form.quantizes ? 8e-3 + 0x1p-9 * own : 5e-6 + 0x1.1p-11 * own);
  }
};

struct EightBits {
  Problem problem;
  Tensor x, weight;
  std::vector<float> x_scale, w_scale, bias, quantization;
  std::shared_ptr<const DeviceBuffer> x_there, weight_there, x_scale_there, w_scale_there, bias_there, quantization_there;

  std::vector<Expected> expected() const {
    const int64_t columns = problem.columns, depth = problem.depth;
    std::vector<double> fp8_x, fp8_weight;
    if (problem.fp8()) {
      for (int64_t i = 0; i < x.shape.elements(); ++i) fp8_x.push_back(fp8_to_float(x.view().as<uint8_t>()[i]));
      for (int64_t i = 0; i < weight.shape.elements(); ++i) fp8_weight.push_back(fp8_to_float(weight.view().as<uint8_t>()[i]));
    }
    std::vector<Expected> result;
    for (int64_t row = 0; row < problem.rows; ++row) {
      const float row_scale = x_scale[problem.one_scale ? 0 : static_cast<size_t>(row)];
      for (int64_t n = 0; n < columns; ++n) {
        const auto column = static_cast<size_t>(n);
        const float column_bias = problem.bias ? bias[column] : 0;
        if (!problem.fp8()) {
          const int8_t *a = x.view().as<int8_t>() + row * depth, *b = weight.view().as<int8_t>() + n * depth;
          int32_t sum = 0;
          for (int64_t k = 0; k < depth; ++k) sum += a[k] * b[k];
          result.push_back({f16_to_float(float_to_f16(int8_result(sum, row_scale, w_scale[column], &column_bias))), 0});
          continue;
        }
        const double *a = fp8_x.data() + row * depth, *b = fp8_weight.data() + n * depth;
        double sum = 0, terms = 0;
        for (int64_t k = 0; k < depth; ++k) {
          sum += a[k] * b[k];
          terms += std::abs(a[k] * b[k]);
        }
        const double scale = static_cast<double>(row_scale) * w_scale[column], y = sum * scale + column_bias;
        // Matrix units keep about fourteen bits.
        result.push_back({y, 0x1p-11 * (terms * scale + 1) + 0x1p-10 * std::abs(y)});
      }
    }
    return result;
  }

  template <typename Params>
  void set(Params& params, const Form& form, const DeviceBuffer& y) const {
    params.x = x_there->data();
    params.weight = weight_there->data();
    if (problem.bias) params.bias = floats(*bias_there);
    params.operands = problem.kind;
    params.element = Element::f16;
    params.x_scale = floats(*x_scale_there);
    params.one_scale = problem.one_scale;
    params.w_scale = floats(*w_scale_there);
    if (form.quantizes) {
      params.quantized.values = reinterpret_cast<int8_t*>(y.data());
      params.quantized.e4m3 = problem.fp8();
      params.quantized.quantization = floats(*quantization_there);
    } else {
      params.y = y.data();
    }
    params.activation = form.activation;
    params.rows = problem.rows;
    params.columns = problem.columns;
    params.depth = problem.depth;
  }

 private:
  static const float* floats(const DeviceBuffer& buffer) { return reinterpret_cast<const float*>(buffer.data()); }
};

class CudaEightBitClusters : public CudaLinear {
 protected:
  void SetUp() override {
    CudaLinear::SetUp();
    if (IsSkipped()) return;
    clusters = own->launcher<ClusterLinearParams>("cluster_linear");
    wgmma = own->launcher<WgmmaLinearParams>("wgmma_linear");
  }

  std::shared_ptr<const DeviceBuffer> there(const std::vector<float>& values) {
    return own->upload(Tensor::from_floats({static_cast<int64_t>(values.size())}, values), DType::f32);
  }

  EightBits random_problem(const Problem& problem) {
    std::mt19937 random(static_cast<unsigned>(problem.rows * 7919 + problem.columns * 31 + problem.depth));
    const auto scales = [&](int64_t count, float scale) {
      std::vector<float> values = random_floats(random, count, 1);
      for (float& value : values) value = scale * (1 + 0.5f * std::tanh(value));
      return values;
    };
    const auto matrix = [&](int64_t rows) {
      return problem.fp8() ? random_codes(random, {rows, problem.depth}, 8) : random_integers(random, {rows, problem.depth});
    };
    EightBits made;
    made.problem = problem;
    made.x = matrix(problem.rows);
    made.weight = matrix(problem.columns);
    made.x_scale = scales(problem.one_scale ? 1 : problem.rows, problem.fp8() ? 0.1f : 0.01f);
    made.w_scale = scales(problem.columns, problem.fp8() ? 0.01f : 0.001f);
    made.bias = random_floats(random, problem.columns, 1);
    made.quantization = scales(2 * problem.columns, problem.fp8() ? 60.0f : 25.0f);
    for (size_t i = made.quantization.size() / 2; i < made.quantization.size(); ++i)
      made.quantization[i] -= problem.fp8() ? 58.0f : 30.0f;
    upload(made);
    return made;
  }

  void upload(EightBits& made) {
    made.x_there = own->upload(made.x, made.x.dtype);
    made.weight_there = own->upload(made.weight, made.weight.dtype);
    made.x_scale_there = there(made.x_scale);
    made.w_scale_there = there(made.w_scale);
    made.bias_there = there(made.bias);
    made.quantization_there = there(made.quantization);
  }

  static size_t bytes_of(const Problem& problem, const Form& form) {
    return static_cast<size_t>(problem.rows * problem.columns) * (form.quantizes ? 1 : 2);
  }

  // `set` makes it a launch's of its own; `overflow`: the first step that overflowed.
  template <typename Params, typename Set>
  std::vector<std::byte> run(const cuda::Launcher<Params>& launcher, const EightBits& given, const Form& form, int64_t live,
                             int32_t& overflow, Set set) {
    const int32_t numbers[] = {static_cast<int32_t>(live), kNoOverflow};
    const DeviceBuffer numbers_there(own, sizeof numbers, "a test"), y(own, bytes_of(given.problem, form) + kGuard, "a test");
    stream->copy(numbers_there.data(), numbers, sizeof numbers);
    stream->fill(y.data(), 0xff, y.bytes());
    Params params{};
    given.set(params, form, y);
    set_numbers(params, numbers_there);
    set(params);
    own->launch(launcher, params, *stream);
    std::vector<std::byte> result(y.bytes());
    int32_t after[2];
    stream->copy(result.data(), y.data(), y.bytes());
    stream->copy(after, numbers_there.data(), sizeof after);
    stream->synchronize();
    overflow = after[1];
    return result;
  }

  static void check(const EightBits& given, const Form& form, const std::vector<Expected>& expected,
                    const std::vector<std::byte>& result, int64_t live, const std::string& what) {
    const Problem& problem = given.problem;
    const auto columns = static_cast<size_t>(problem.columns), count = static_cast<size_t>(live) * columns;
    for (size_t i = 0; i < count; ++i) {
      const double value = expected[i].value(form), bound = expected[i].bound(form);
      if (form.quantizes) {
        const float inverse = given.quantization[i % columns], offset = given.quantization[columns + i % columns];
        const auto code_of = [&](double of) {
          const auto x = static_cast<float>(of);
          return problem.fp8() ? ordered(to_fp8_fixed(x, inverse, offset)) : to_int8_fixed(x, inverse, offset);
        };
        const int code =
            problem.fp8() ? ordered(static_cast<uint8_t>(result[i])) : static_cast<int8_t>(static_cast<uint8_t>(result[i]));
        ASSERT_GE(code, code_of(value - bound)) << what << ", element " << i << " of " << count << ": " << value;
        ASSERT_LE(code, code_of(value + bound)) << what << ", element " << i << " of " << count << ": " << value;
      } else {
        uint16_t bits;
        std::memcpy(&bits, result.data() + 2 * i, 2);
        ASSERT_NEAR(f16_to_float(bits), value, bound) << what << ", element " << i << " of " << count;
      }
    }
    const auto rest = result.begin() + static_cast<ptrdiff_t>(count * (form.quantizes ? 1 : 2));
    EXPECT_TRUE(std::all_of(rest, result.end(), [](std::byte byte) { return byte == kUntouched; }))
        << what << ": rows that are not live, or what is behind them";
  }

  void check_tiles(const Problem& problem, std::initializer_list<int64_t> numbers_of_live_rows) {
    const EightBits given = random_problem(problem);
    const std::vector<Expected> expected = given.expected();
    for (const int64_t live : numbers_of_live_rows)
      for (const Form& form : kForms) {
        const std::string name = fmt::format("{}, {} live, activation {}{}", problem.name(), live,
                                             static_cast<int>(form.activation), form.quantizes ? ", in eight bits" : "");
        int32_t overflow = 0;
        const std::vector<std::byte> by_wgmma =
            run(wgmma, given, form, live, overflow, [](WgmmaLinearParams& params) { params.tile_columns = 64; });
        for (const ClusterLinearTile& tile : kTiles) {
          const std::string what = fmt::format("{}, tile {} x {} by {} blocks", name, tile.rows, tile.columns, tile.blocks);
          const std::vector<std::byte> result =
              run(clusters, given, form, live, overflow, [&](ClusterLinearParams& params) { params.tile = tile; });
          EXPECT_EQ(overflow, kNoOverflow) << what;
          check(given, form, expected, result, live, what);
          if (HasFatalFailure()) return;
          if (problem.fp8()) continue;
          const size_t bytes = static_cast<size_t>(live * problem.columns) * (form.quantizes ? 1 : 2);
          EXPECT_EQ(std::memcmp(result.data(), by_wgmma.data(), bytes), 0) << what << ": not wgmma_linear's bits";
        }
      }
  }

  cuda::Launcher<ClusterLinearParams> clusters;
  cuda::Launcher<WgmmaLinearParams> wgmma;
};

TEST_F(CudaEightBitClusters, EveryTile) {
  for (const LinearOperands kind : kKinds)
    for (const bool one_scale : {false, true}) {
      check_tiles({kind, 1, 48, 144, one_scale}, {1, 0});
      check_tiles({kind, 63, 80, 784, one_scale}, {63, 20});
      check_tiles({kind, 64, 1008, 144, one_scale}, {64, 33});
      check_tiles({kind, 65, 48, 784, one_scale, !one_scale}, {65, 64});
      check_tiles({kind, 128, 80, 3072, one_scale}, {128, 65});
      check_tiles({kind, 128, 1008, 16, one_scale, one_scale}, {128, 127});
      check_tiles({kind, 130, 144, 768, one_scale}, {130, 128, 9});
      check_tiles({kind, 5, 16, 4112, one_scale}, {5});
    }
}

// Parts are added in the order of their blocks, and neither they nor the columns' lists are read before they are there.
TEST_F(CudaEightBitClusters, GiveTheSameBitsManyTimes) {
  constexpr size_t kRuns = 500;
  for (const LinearOperands kind : kKinds)
    for (const ClusterLinearTile& tile : kTiles) {
      const Problem problem{kind, 100, 208, 3072};
      const Form form{Activation::gelu, true};
      const EightBits given = random_problem(problem);
      const size_t bytes = bytes_of(problem, form);
      const DeviceBuffer y(own, kRuns * bytes, "a test");
      stream->fill(y.data(), 0xff, y.bytes());
      for (size_t run = 0; run < kRuns; ++run) {
        ClusterLinearParams params{};
        given.set(params, form, y);
        params.quantized.values += run * bytes;
        params.tile = tile;
        own->launch(clusters, params, *stream);
      }
      std::vector<std::byte> results(y.bytes());
      stream->copy(results.data(), y.data(), y.bytes());
      stream->synchronize();
      for (size_t run = 1; run < kRuns; ++run)
        ASSERT_EQ(std::memcmp(results.data(), results.data() + run * bytes, bytes), 0)
            << problem.name() << ", run " << run << ", tile " << tile.rows << " x " << tile.columns << " by " << tile.blocks;
    }
}

// By one result of the last column, in a row whose scale is large.
TEST_F(CudaEightBitClusters, TellOfOverflow) {
  constexpr int64_t kRows = 90, kLive = 70;
  for (const LinearOperands kind : kKinds)
    for (const int64_t bad : {0, 11, 69, 70, 89}) {
      EightBits given = random_problem({kind, kRows, 80, 144});
      std::fill(given.w_scale.begin(), given.w_scale.end() - 1, 0.0f);
      given.x_scale[static_cast<size_t>(bad)] = 1e30f;
      upload(given);
      for (const Form& form : kForms)
        for (const ClusterLinearTile& tile : kTiles) {
          int32_t overflow = 0;
          run(clusters, given, form, kLive, overflow, [&](ClusterLinearParams& params) { params.tile = tile; });
          EXPECT_EQ(overflow, bad < kLive ? kStep : kNoOverflow)
              << given.problem.name() << ", row " << bad << ", activation " << static_cast<int>(form.activation) << ", tile "
              << tile.rows << " x " << tile.columns << " by " << tile.blocks;
        }
    }
}

TEST_F(CudaEightBitClusters, Refuse) {
  const EightBits given = random_problem({LinearOperands::int8, 4, 48, 144});
  const DeviceBuffer y(own, 4096, "a test");
  const auto launch = [&](auto change) {
    ClusterLinearParams params{};
    given.set(params, {Activation::none, true}, y);
    params.tile = kTiles[0];
    change(params);
    own->launch(clusters, params, *stream);
  };
  EXPECT_NO_THROW(launch([](ClusterLinearParams&) {}));
  EXPECT_THROW(launch([](ClusterLinearParams& p) { p.columns = 40; }), Error);
  EXPECT_THROW(launch([](ClusterLinearParams& p) { p.depth = 136; }), Error);
  EXPECT_THROW(launch([](ClusterLinearParams& p) { p.element = Element::bf16; }), Error);
  EXPECT_THROW(launch([](ClusterLinearParams& p) { p.quantized.e4m3 = 1; }), Error);
  EXPECT_THROW(launch([](ClusterLinearParams& p) { p.operands = LinearOperands::fp8; }), Error);
  EXPECT_THROW(launch([](ClusterLinearParams& p) { p.operands = LinearOperands::elements; }), Error);
  EXPECT_THROW(launch([&](ClusterLinearParams& p) { p.quantized.scales = reinterpret_cast<float*>(y.data()); }), Error);
  EXPECT_THROW(launch([](ClusterLinearParams& p) { p.activation = Activation::relu; }), Error);
  EXPECT_THROW(launch([](ClusterLinearParams& p) { p.tile = {128, 64, 2}; }), Error);
  stream->synchronize();
}

}  // namespace
}  // namespace bertie::test
