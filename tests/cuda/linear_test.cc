// Linear kernels by their launchers, each tile against sums in double: what the engine's rules would not choose at such sizes.
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "cuda/kernels/cluster_linear.h"
#include "cuda/kernels/wgmma_linear.h"
#include "tests/cuda/hopper_linear.h"

namespace bertie::test {
namespace {

using cuda::Activation;
using cuda::ClusterLinearParams;
using cuda::ClusterLinearTile;
using cuda::Element;
using cuda::WgmmaLinearParams;

// `shape`: rows, columns and depth.
template <typename Params>
void set_operands(Params& params, const DeviceBuffer& x, const DeviceBuffer& weight, std::byte* y, DType dtype,
                  const Shape& shape) {
  params.x = x.data();
  params.weight = weight.data();
  params.y = y;
  params.element = dtype == DType::f16 ? Element::f16 : Element::bf16;
  params.rows = shape[0];
  params.columns = shape[1];
  params.depth = shape[2];
}

// Each of `tiles`, with and without GELU, of which half of the rows are live; `set` makes it a launch's.
template <typename Params, typename Tile, typename Set>
void check_tiles(CudaDevice& device, Stream& stream, const cuda::Launcher<Params>& launcher, DType dtype, const Shape& shape,
                 const std::vector<Tile>& tiles, Set set) {
  const int64_t rows = shape[0], columns = shape[1], depth = shape[2], live = (rows + 1) / 2;
  std::mt19937 random(static_cast<unsigned>(rows * 7919 + columns * 31 + depth));
  const std::vector<float> x = random_floats(random, rows * depth, 1), weight = random_floats(random, columns * depth, 0.06f),
                           bias = random_floats(random, columns, 1);
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
  const auto x_there = device.upload(Tensor::from_floats({rows, depth}, x), dtype),
             weight_there = device.upload(Tensor::from_floats({columns, depth}, weight), dtype),
             bias_there = device.upload(Tensor::from_floats({columns}, bias), DType::f32);
  const int32_t numbers[] = {static_cast<int32_t>(live), kNoOverflow};
  const DeviceBuffer numbers_there(device.shared_from_this(), sizeof numbers, "a test"),
      y(device.shared_from_this(), static_cast<size_t>(rows * columns) * 2, "a test");
  for (const Tile& tile : tiles) {
    for (const Activation activation : {Activation::none, Activation::gelu}) {
      Params params{};
      const std::string what = fmt::format("{} {}x{}x{}, {}, activation {}", dtype_name(dtype), rows, columns, depth,
                                           set(params, tile), static_cast<int>(activation));
      stream.copy(numbers_there.data(), numbers, sizeof numbers);
      stream.fill(y.data(), 0xff, y.bytes());
      set_operands(params, *x_there, *weight_there, y.data(), dtype, shape);
      set_numbers(params, numbers_there);
      params.bias = reinterpret_cast<const float*>(bias_there->data());
      params.activation = activation;
      device.launch(launcher, params, stream);
      std::vector<uint16_t> result(static_cast<size_t>(rows * columns));
      int32_t after[2];
      stream.copy(result.data(), y.data(), y.bytes());
      stream.copy(after, numbers_there.data(), sizeof after);
      stream.synchronize();
      EXPECT_EQ(after[1], kNoOverflow) << what;
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

TEST_F(CudaLinear, EveryTileOfWgmma) {
  const auto launcher = own->launcher<WgmmaLinearParams>("wgmma_linear");
  for (const DType dtype : {DType::f16, DType::bf16}) {
    for (const int64_t rows : {1, 127, 128, 300}) {
      for (const int64_t columns : {8, 264}) {
        check_tiles(*own, *stream, launcher, dtype, {rows, columns, 520}, std::vector{0, 32, 64, 128, 192, 256},
                    [](WgmmaLinearParams& params, int tile) {
                      params.tile_columns = tile;
                      return fmt::format("tile {}", tile);
                    });
      }
    }
  }
}

TEST_F(CudaLinear, EveryTileOfClusters) {
  const auto launcher = own->launcher<ClusterLinearParams>("cluster_linear");
  const std::vector<ClusterLinearTile> tiles = {{64, 64, 1}, {64, 64, 2}, {64, 64, 4}, {128, 64, 1}, {128, 128, 1}};
  const Shape shapes[] = {{1, 8, 8},      {2, 136, 64},  {126, 72, 520},   {127, 64, 512}, {128, 120, 768},
                          {129, 264, 72}, {131, 8, 768}, {200, 136, 1032}, {66, 40, 3072}, {5, 24, 4096}};
  for (const DType dtype : {DType::f16, DType::bf16}) {
    for (const Shape& shape : shapes) {
      check_tiles(*own, *stream, launcher, dtype, shape, tiles, [](ClusterLinearParams& params, ClusterLinearTile tile) {
        params.tile = tile;
        return fmt::format("tile {} x {} by {} blocks", tile.rows, tile.columns, tile.blocks);
      });
    }
  }
}

// Parts are added in the order of their blocks, and none is read before it is there.
TEST_F(CudaLinear, ClustersGiveTheSameBitsAThousandTimes) {
  const auto launcher = own->launcher<ClusterLinearParams>("cluster_linear");
  std::mt19937 random(3);
  const int64_t rows = 100, columns = 200, depth = 3072;
  const auto x = own->upload(Tensor::from_floats({rows, depth}, random_floats(random, rows * depth, 1)), DType::f16),
             weight =
                 own->upload(Tensor::from_floats({columns, depth}, random_floats(random, columns * depth, 0.06f)), DType::f16);
  const size_t bytes = static_cast<size_t>(rows * columns) * 2;
  constexpr size_t kRuns = 1000;
  const DeviceBuffer y(own, kRuns * bytes, "a test");
  for (const ClusterLinearTile tile : {ClusterLinearTile{64, 64, 2}, {64, 64, 4}}) {
    stream->fill(y.data(), 0xff, y.bytes());
    for (size_t run = 0; run < kRuns; ++run) {
      ClusterLinearParams params{};
      set_operands(params, *x, *weight, y.data() + run * bytes, DType::f16, {rows, columns, depth});
      params.tile = tile;
      own->launch(launcher, params, *stream);
    }
    std::vector<uint16_t> results(kRuns * bytes / 2);
    stream->copy(results.data(), y.data(), y.bytes());
    stream->synchronize();
    for (size_t run = 1; run < kRuns; ++run)
      ASSERT_EQ(std::memcmp(results.data(), results.data() + run * (bytes / 2), bytes), 0)
          << "run " << run << " by " << tile.blocks << " blocks";
  }
}

TEST_F(CudaLinear, ClustersRefuse) {
  const auto launcher = own->launcher<ClusterLinearParams>("cluster_linear");
  ClusterLinearParams params{};
  params.element = Element::f16;
  params.columns = params.depth = 64;
  params.tile = {64, 64, 1};
  EXPECT_NO_THROW(own->launch(launcher, params, *stream)) << "no rows";
  struct Bad {
    int64_t rows, columns, depth;
    ClusterLinearTile tile;
    Activation activation;
  };
  const ClusterLinearTile good{64, 64, 1};
  for (const Bad& bad :
       {Bad{4, 12, 64, good, Activation::none}, Bad{4, 16, 68, good, Activation::none}, Bad{4, 16, 0, good, Activation::none},
        Bad{4, 16, 64, {64, 48, 1}, Activation::none}, Bad{4, 16, 64, {128, 64, 2}, Activation::none},
        Bad{4, 16, 64, {}, Activation::none}, Bad{4, 16, 64, good, Activation::relu}}) {
    params.rows = bad.rows;
    params.columns = bad.columns;
    params.depth = bad.depth;
    params.tile = bad.tile;
    params.activation = bad.activation;
    EXPECT_THROW(own->launch(launcher, params, *stream), Error);
  }
}

TEST(ClusterLinearTile, IsChosenWhereThereAreFewTiles) {
  const auto tile = [](int64_t rows, int64_t columns, int64_t depth, bool gelu = false, int64_t element_bytes = 2) {
    const ClusterLinearTile chosen = cuda::cluster_linear_tile(rows, columns, depth * element_bytes, gelu, 132);
    return fmt::format("{}x{} by {}", chosen.rows, chosen.columns, chosen.blocks);
  };
  EXPECT_EQ(tile(1, 2304, 768), "64x64 by 1");
  EXPECT_EQ(tile(128, 3072, 768, true), "64x64 by 1");
  EXPECT_EQ(tile(128, 768, 3072), "64x64 by 4");
  EXPECT_EQ(tile(129, 768, 3072), "64x64 by 2");
  EXPECT_EQ(tile(128, 1024, 4096), "64x64 by 2");
  EXPECT_EQ(tile(512, 768, 3072), "64x64 by 1");
  EXPECT_EQ(tile(256, 2304, 768), "128x64 by 1");
  EXPECT_EQ(tile(528, 3072, 768, true), "128x128 by 1");
  EXPECT_EQ(tile(512, 2304, 768), "0x0 by 0");
  EXPECT_EQ(tile(1024, 768, 768), "0x0 by 0");
  EXPECT_EQ(tile(1024, 768, 3072), "128x64 by 1");
  EXPECT_EQ(tile(1536, 768, 3072), "0x0 by 0");
  EXPECT_EQ(tile(128, 2304, 768, false, 1), "64x64 by 1");
  EXPECT_EQ(tile(128, 1024, 1536, false, 1), "64x64 by 1");
  EXPECT_EQ(tile(128, 768, 3072, false, 1), "64x64 by 4");
  EXPECT_EQ(tile(512, 2304, 768, false, 1), "0x0 by 0");
}

// `given` holds what tells launches apart.
template <typename Params>
void check_overflow(const std::shared_ptr<CudaDevice>& own, Stream& stream, const char* name, const Params& given) {
  const auto launcher = own->launcher<Params>(name);
  const int64_t rows = 20, columns = 16, depth = 384;
  for (const float sign : {1.0f, -1.0f}) {
    for (const int64_t bad : {int64_t{3}, int64_t{19}}) {
      std::vector<float> x(static_cast<size_t>(rows * depth), 0);
      for (int64_t k = 0; k < depth; ++k) x[static_cast<size_t>(bad * depth + k)] = sign * 1000;
      const auto x_there = own->upload(Tensor::from_floats({rows, depth}, x), DType::f16),
                 weight = own->upload(
                     Tensor::from_floats({columns, depth}, std::vector<float>(static_cast<size_t>(columns * depth), 1)),
                     DType::f16);
      const int32_t numbers[] = {12, kNoOverflow};
      const DeviceBuffer numbers_there(own, sizeof numbers, "a test"), y(own, static_cast<size_t>(rows * columns) * 2, "a test");
      for (const Activation activation : {Activation::none, Activation::gelu}) {
        stream.copy(numbers_there.data(), numbers, sizeof numbers);
        Params params = given;
        set_operands(params, *x_there, *weight, y.data(), DType::f16, {rows, columns, depth});
        set_numbers(params, numbers_there);
        params.activation = activation;
        own->launch(launcher, params, stream);
        int32_t after[2];
        stream.copy(after, numbers_there.data(), sizeof after);
        stream.synchronize();
        EXPECT_EQ(after[1], bad < 12 ? kStep : kNoOverflow)
            << name << ", row " << bad << ", activation " << static_cast<int>(activation);
      }
    }
  }
}

TEST_F(CudaLinear, TellsOfOverflow) {
  check_overflow(own, *stream, "wgmma_linear", WgmmaLinearParams{});
  ClusterLinearParams params{};
  for (const int blocks : {1, 4}) {
    params.tile = {64, 64, blocks};
    check_overflow(own, *stream, "cluster_linear", params);
  }
}

}  // namespace
}  // namespace bertie::test
