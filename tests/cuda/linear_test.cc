// Linear kernels by their launchers, each tile against sums in double: what the engine's rules would not choose at such sizes.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/float16.h"
#include "cuda/cuda_device.h"
#include "cuda/kernels/wgmma_linear.h"
#include "quant/int8.h"
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
            params.operand = params.element = dtype == DType::f16 ? Element::f16 : Element::bf16;
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
        params.operand = params.element = Element::f16;
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

std::shared_ptr<const DeviceBuffer> upload_bytes(CudaDevice& device, const Shape& shape, const std::vector<int8_t>& values) {
  auto storage = std::make_shared<std::vector<int8_t>>(values);
  return device.upload({DType::i8, shape, std::shared_ptr<const void>(storage, storage->data())}, DType::i8);
}

std::vector<int8_t> random_bytes(std::mt19937& random, int64_t count) {
  std::vector<int8_t> values(static_cast<size_t>(count));
  for (int8_t& value : values) value = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
  return values;
}

template <typename T>
std::vector<T> read(Stream& stream, const DeviceBuffer& memory, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  stream.copy(values.data(), memory.data(), values.size() * sizeof(T));
  stream.synchronize();
  return values;
}

// The bits that src/quant/int8.h defines, whatever the tile.
TEST_F(CudaLinear, EightBitProductsAreExact) {
  const auto launcher = own->launcher<WgmmaLinearParams>("wgmma_linear");
  std::mt19937 random(2);
  for (const int64_t depth : {272, 784, 3072}) {
    for (const int64_t rows : {1, 129, 300}) {
      for (const int64_t columns : {8, 264}) {
        const int64_t live = rows > 1 ? rows - 1 : rows;
        const std::vector<int8_t> x = random_bytes(random, rows * depth), weight = random_bytes(random, columns * depth);
        const std::vector<float> x_scale = random_floats(random, rows, 1e-2f),
                                 weight_scale = random_floats(random, columns, 1e-3f), bias = random_floats(random, columns, 1);
        std::vector<int32_t> sums;
        for (int64_t row = 0; row < live; ++row) {
          for (int64_t column = 0; column < columns; ++column) {
            int32_t sum = 0;
            for (int64_t k = 0; k < depth; ++k)
              sum += x[static_cast<size_t>(row * depth + k)] * weight[static_cast<size_t>(column * depth + k)];
            sums.push_back(sum);
          }
        }
        const auto x_there = upload_bytes(*own, {rows, depth}, x), weight_there = upload_bytes(*own, {columns, depth}, weight),
                   x_scale_there = upload({rows}, x_scale, DType::f32),
                   weight_scale_there = upload({columns}, weight_scale, DType::f32),
                   bias_there = upload({columns}, bias, DType::f32);
        const auto live_there = static_cast<int32_t>(live);
        const DeviceBuffer numbers(device, sizeof live_there, "a test"),
            y(device, static_cast<size_t>(rows * columns) * 4, "a test");
        stream->copy(numbers.data(), &live_there, sizeof live_there);
        for (const int tile : {0, 32, 64, 128, 192, 256}) {
          if (tile == 256 && depth < 512) continue;
          for (const Element element : {Element::f32, Element::f16, Element::bf16}) {
            const bool by_row = tile % 64 == 0, with_bias = tile != 64;
            const std::string what =
                fmt::format("{}x{}x{}, tile {}, element {}", rows, columns, depth, tile, static_cast<int>(element));
            stream->fill(y.data(), 0xff, y.bytes());
            WgmmaLinearParams params{};
            params.x = x_there->data();
            params.weight = weight_there->data();
            if (with_bias) params.bias = reinterpret_cast<const float*>(bias_there->data());
            params.y = y.data();
            params.operand = Element::i8;
            params.element = element;
            params.x_scale = reinterpret_cast<const float*>(x_scale_there->data());
            params.x_scales = by_row;
            params.weight_scale = reinterpret_cast<const float*>(weight_scale_there->data());
            params.rows = rows;
            params.columns = columns;
            params.depth = depth;
            params.live_rows = reinterpret_cast<const int32_t*>(numbers.data());
            params.tile_columns = tile;
            own->launch(launcher, params, *stream);
            const auto wide = read<float>(*stream, y, element == Element::f32 ? rows * columns : 0);
            const auto narrow = read<uint16_t>(*stream, y, element == Element::f32 ? 0 : rows * columns);
            for (size_t i = 0; i < sums.size(); ++i) {
              const size_t row = i / static_cast<size_t>(columns), column = i % static_cast<size_t>(columns);
              const float expected =
                  int8_result(sums[i], x_scale[by_row ? row : 0], weight_scale[column], with_bias ? &bias[column] : nullptr);
              if (element == Element::f32) {
                ASSERT_EQ(wide[i], expected) << what << ", element " << i;
              } else {
                ASSERT_EQ(narrow[i], element == Element::f16 ? float_to_f16(expected) : float_to_bf16(expected))
                    << what << ", element " << i;
              }
            }
          }
        }
      }
    }
  }
}

TEST_F(CudaLinear, GeluBehindEightBitProducts) {
  const auto launcher = own->launcher<WgmmaLinearParams>("wgmma_linear");
  std::mt19937 random(3);
  const int64_t rows = 130, columns = 72, depth = 768;
  const std::vector<int8_t> x = random_bytes(random, rows * depth), weight = random_bytes(random, columns * depth);
  const auto x_there = upload_bytes(*own, {rows, depth}, x), weight_there = upload_bytes(*own, {columns, depth}, weight);
  const std::vector<float> scale(static_cast<size_t>(columns), 1.2e-3f), one{5e-3f};
  const auto scale_there = upload({columns}, scale, DType::f32), one_there = upload({1}, one, DType::f32);
  const DeviceBuffer y(device, static_cast<size_t>(rows * columns) * 4, "a test");
  for (const Element element : {Element::f32, Element::f16, Element::bf16}) {
    WgmmaLinearParams params{};
    params.x = x_there->data();
    params.weight = weight_there->data();
    params.y = y.data();
    params.operand = Element::i8;
    params.element = element;
    params.activation = Activation::gelu;
    params.x_scale = reinterpret_cast<const float*>(one_there->data());
    params.weight_scale = reinterpret_cast<const float*>(scale_there->data());
    params.rows = rows;
    params.columns = columns;
    params.depth = depth;
    own->launch(launcher, params, *stream);
    const auto wide = read<float>(*stream, y, element == Element::f32 ? rows * columns : 0);
    const auto narrow = read<uint16_t>(*stream, y, element == Element::f32 ? 0 : rows * columns);
    const double epsilon = element == Element::f32 ? 0x1p-21 : element == Element::f16 ? 0x1p-11 : 0x1p-8;
    for (int64_t i = 0; i < rows * columns; ++i) {
      int32_t sum = 0;
      for (int64_t k = 0; k < depth; ++k)
        sum += x[static_cast<size_t>(i / columns * depth + k)] * weight[static_cast<size_t>(i % columns * depth + k)];
      const double z = int8_result(sum, one[0], scale[0], nullptr), expected = 0.5 * z * (1 + std::erf(z * std::sqrt(0.5)));
      const auto at = static_cast<size_t>(i);
      const double value = element == Element::f32   ? wide[at]
                           : element == Element::f16 ? f16_to_float(narrow[at])
                                                     : bf16_to_float(narrow[at]);
      ASSERT_LE(std::abs(value - expected), epsilon * (1.2 * std::abs(z) + std::abs(expected) + 0.02)) << "element " << i;
    }
  }
}

}  // namespace
}  // namespace bertie::test
