// Linear kernels by their launchers, each tile against sums in double: what the engine's rules would not choose at such sizes.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/float16.h"
#include "cuda/cuda_device.h"
#include "cuda/kernels/wgmma_linear.h"
#include "tests/cuda/gpu.h"

namespace bertie::test {
namespace {

using cuda::Activation;
using cuda::CudaDevice;
using cuda::Element;
using cuda::WgmmaLinearParams;

std::vector<float> random_floats(std::mt19937& random, int64_t count, float scale) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

class CudaLinear : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    own = std::static_pointer_cast<CudaDevice>(device);
    if (own->capability() != 90) GTEST_SKIP() << "wgmma is Hopper's alone";
    stream = own->make_stream();
  }

  std::shared_ptr<const DeviceBuffer> upload(const Shape& shape, const std::vector<float>& values, DType dtype) {
    return own->upload(Tensor::from_floats(shape, values), dtype);
  }

  std::shared_ptr<CudaDevice> own;
  std::unique_ptr<Stream> stream;
};

// As they lie on the device.
std::vector<double> rounded(const std::vector<float>& values, DType dtype) {
  std::vector<double> result;
  for (const float value : values) {
    const uint16_t bits = dtype == DType::f16 ? float_to_f16(value) : float_to_bf16(value);
    result.push_back(dtype == DType::f16 ? f16_to_float(bits) : bf16_to_float(bits));
  }
  return result;
}

TEST_F(CudaLinear, EveryTileOfWgmma) {
  const auto launcher = own->launcher<WgmmaLinearParams>("wgmma_linear");
  std::mt19937 random(1);
  for (const DType dtype : {DType::f16, DType::bf16}) {
    for (const int64_t rows : {1, 127, 128, 300}) {
      for (const int64_t columns : {8, 264}) {
        const int64_t depth = 520, live = (rows + 1) / 2;
        const std::vector<float> x = random_floats(random, rows * depth, 1),
                                 weight = random_floats(random, columns * depth, 0.06f), bias = random_floats(random, columns, 1);
        const std::vector<double> own_x = rounded(x, dtype), own_weight = rounded(weight, dtype);
        std::vector<double> sums;
        for (int64_t row = 0; row < live; ++row) {
          for (int64_t column = 0; column < columns; ++column) {
            double sum = bias[static_cast<size_t>(column)];
            for (int64_t k = 0; k < depth; ++k)
              sum += own_x[static_cast<size_t>(row * depth + k)] * own_weight[static_cast<size_t>(column * depth + k)];
            sums.push_back(sum);
          }
        }
        const auto x_there = upload({rows, depth}, x, dtype), weight_there = upload({columns, depth}, weight, dtype),
                   bias_there = upload({columns}, bias, DType::f32);
        const int32_t numbers[] = {static_cast<int32_t>(live), 100};
        const DeviceBuffer numbers_there(device, sizeof numbers, "a test"),
            y(device, static_cast<size_t>(rows * columns) * 2, "a test");
        for (const int tile : {0, 32, 64, 128, 192, 256}) {
          for (const Activation activation : {Activation::none, Activation::gelu}) {
            const std::string what = fmt::format("{} {}x{}, tile {}, activation {}", dtype_name(dtype), rows, columns, tile,
                                                 static_cast<int>(activation));
            stream->copy(numbers_there.data(), numbers, sizeof numbers);
            stream->fill(y.data(), 0xff, y.bytes());
            WgmmaLinearParams params{};
            params.x = x_there->data();
            params.weight = weight_there->data();
            params.bias = reinterpret_cast<const float*>(bias_there->data());
            params.y = y.data();
            params.element = dtype == DType::f16 ? Element::f16 : Element::bf16;
            params.activation = activation;
            params.rows = rows;
            params.columns = columns;
            params.depth = depth;
            params.live_rows = reinterpret_cast<const int32_t*>(numbers_there.data());
            params.overflow = reinterpret_cast<int32_t*>(numbers_there.data()) + 1;
            params.step = 7;
            params.tile_columns = tile;
            own->launch(launcher, params, *stream);
            std::vector<uint16_t> result(static_cast<size_t>(rows * columns));
            int32_t after[2];
            stream->copy(result.data(), y.data(), y.bytes());
            stream->copy(after, numbers_there.data(), sizeof after);
            stream->synchronize();
            EXPECT_EQ(after[1], 100) << what;
            const double epsilon = dtype == DType::f16 ? 0x1p-11 : 0x1p-8;
            for (size_t i = 0; i < sums.size(); ++i) {
              const bool gelu = activation == Activation::gelu;
              const double expected = gelu ? 0.5 * sums[i] * (1 + std::erf(sums[i] * std::sqrt(0.5))) : sums[i];
              const double value = dtype == DType::f16 ? f16_to_float(result[i]) : bf16_to_float(result[i]);
              // Rounded once as a sum, and once more behind GELU, whose slope is at most 1.13.
              ASSERT_LE(std::abs(value - expected), epsilon * (1.2 * std::abs(sums[i]) + (gelu ? std::abs(expected) : 0) + 0.02))
                  << what << ", element " << i << " of " << sums.size() << ": " << value << ", not " << expected;
            }
          }
        }
      }
    }
  }
}

TEST_F(CudaLinear, WgmmaTellsOfOverflow) {
  const auto launcher = own->launcher<WgmmaLinearParams>("wgmma_linear");
  const int64_t rows = 20, columns = 16, depth = 384;
  for (const float sign : {1.0f, -1.0f}) {
    for (const int64_t bad : {int64_t{3}, int64_t{19}}) {
      std::vector<float> x(static_cast<size_t>(rows * depth), 0);
      for (int64_t k = 0; k < depth; ++k) x[static_cast<size_t>(bad * depth + k)] = sign * 1000;
      const auto x_there = upload({rows, depth}, x, DType::f16),
                 weight = upload({columns, depth}, std::vector<float>(static_cast<size_t>(columns * depth), 1), DType::f16);
      const int32_t numbers[] = {12, 100};
      const DeviceBuffer numbers_there(device, sizeof numbers, "a test"),
          y(device, static_cast<size_t>(rows * columns) * 2, "a test");
      for (const Activation activation : {Activation::none, Activation::gelu}) {
        stream->copy(numbers_there.data(), numbers, sizeof numbers);
        WgmmaLinearParams params{};
        params.x = x_there->data();
        params.weight = weight->data();
        params.y = y.data();
        params.element = Element::f16;
        params.activation = activation;
        params.rows = rows;
        params.columns = columns;
        params.depth = depth;
        params.live_rows = reinterpret_cast<const int32_t*>(numbers_there.data());
        params.overflow = reinterpret_cast<int32_t*>(numbers_there.data()) + 1;
        params.step = 7;
        own->launch(launcher, params, *stream);
        int32_t after[2];
        stream->copy(after, numbers_there.data(), sizeof after);
        stream->synchronize();
        EXPECT_EQ(after[1], bad < 12 ? 7 : 100) << "row " << bad << ", activation " << static_cast<int>(activation);
      }
    }
  }
}

}  // namespace
}  // namespace bertie::test
