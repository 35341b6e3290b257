// split_linear by its launcher, and the layer norm that adds its parts up, against layer norms in double.
#include "cuda/kernels/split_linear.h"

#include "tests/cuda/linear_layer_norm.h"

namespace bertie::test {
namespace {

using cuda::AnyLayerNormParams;
using cuda::SplitLinearParams;
using cuda::SplitLinearTile;

constexpr SplitLinearTile kTilesOfParts[] = {{64, 64, 2},  {64, 64, 3},  {64, 64, 4},  {128, 64, 2}, {128, 64, 3},
                                             {128, 64, 4}, {128, 96, 2}, {128, 96, 3}, {128, 96, 4}};

class CudaSplitLinear : public CudaLinearLayerNorm {
 protected:
  void SetUp() override {
    CudaLinearLayerNorm::SetUp();
    if (IsSkipped()) return;
    split_ = own->launcher<SplitLinearParams>("split_linear");
    norm_ = own->launcher<AnyLayerNormParams>("warp_layer_norm");
  }

  // Rows of parts that are not live are written by nobody, and read by nobody.
  void start_parts(const LinearLayerNormLaunch& launch, const SplitLinearTile& tile) {
    const LinearLayerNormParams params = params_of(launch);
    const DeviceBuffer parts(own, static_cast<size_t>(tile.parts * params.rows * params.columns) * 2, "a test");
    stream->fill(parts.data(), 0xff, parts.bytes());
    own->launch(split_, cuda::split_linear_of(params, parts.data(), tile), *stream);
    own->launch(norm_, cuda::layer_norm_of(params, parts.data(), tile.parts), *stream);
    stream->synchronize();
  }

  void check_parts(LinearLayerNormOperands& operands, const SplitLinearTile& tile,
                   std::initializer_list<int64_t> numbers_of_rows) {
    SCOPED_TRACE(fmt::format("tiles of {} x {}, {} parts", tile.rows, tile.columns, tile.parts));
    for (const int64_t rows : numbers_of_rows) {
      for (const int64_t live : {rows, rows / 2}) {
        const LinearLayerNormLaunch launch = prepare(operands, rows, live, false);
        start_parts(launch, tile);
        check(launch);
      }
    }
  }

 private:
  cuda::Launcher<SplitLinearParams> split_;
  cuda::Launcher<AnyLayerNormParams> norm_;
};

// A depth of 384 leaves one of four parts nothing, 776 one piece that is not full.
TEST_F(CudaSplitLinear, OfEveryTile) {
  for (const int64_t columns : {768, 1024}) {
    for (const int64_t depth : {384, 776, 3072}) {
      LinearLayerNormOperands operands =
          random_operands({LinearOperands::elements, DType::f16, columns, depth, false, depth != 776, 1000});
      for (const SplitLinearTile& tile : kTilesOfParts) check_parts(operands, tile, {1, 63, 65, 127, 129, 1000});
    }
  }
}

TEST_F(CudaSplitLinear, InBfloat16) {
  LinearLayerNormOperands operands = random_operands({LinearOperands::elements, DType::bf16, 768, 3072, false, true, 300});
  for (const SplitLinearTile& tile : kTilesOfParts) check_parts(operands, tile, {1, 128, 300});
}

// Of the last column alone, in the last part, which others do not see; and not of rows that are not live.
TEST_F(CudaSplitLinear, TellsOfOverflow) {
  const int64_t rows = 300, live = 140, columns = 768, depth = 768;
  for (const SplitLinearTile& tile : kTilesOfParts) {
    for (const int64_t bad : {int64_t{3}, int64_t{139}, int64_t{140}, int64_t{299}}) {
      std::vector<float> x(static_cast<size_t>(rows * depth), 0), weight(static_cast<size_t>(columns * depth), 0);
      std::fill_n(x.begin() + (bad + 1) * depth - 100, 100, 1000.0f);
      std::fill_n(weight.end() - depth, depth, 1.0f);
      LinearLayerNormOperands operands({LinearOperands::elements, DType::f16, columns, depth, false, false});
      operands.x = floats({rows, depth}, x, DType::f16);
      operands.weight = floats({columns, depth}, weight, DType::f16);
      operands.residual = floats({rows, columns}, std::vector<float>(static_cast<size_t>(rows * columns), 1), DType::f16);
      operands.gamma = operands.beta = vector(std::vector<float>(static_cast<size_t>(columns), 1));
      const LinearLayerNormLaunch launch = prepare(operands, rows, live, false);
      start_parts(launch, tile);
      EXPECT_EQ(overflow(launch), bad < live ? kStep : kNoOverflow)
          << tile.rows << " x " << tile.columns << ", " << tile.parts << " parts, row " << bad;
    }
  }
}

TEST_F(CudaSplitLinear, RefusesWhatItHasNoKernelFor) {
  LinearLayerNormOperands operands = random_operands({LinearOperands::elements, DType::f16, 768, 384, false, true, 1});
  const LinearLayerNormLaunch launch = prepare(operands, 1, 1, false);
  for (const SplitLinearTile& tile : {SplitLinearTile{64, 64, 1}, SplitLinearTile{64, 64, 5}, SplitLinearTile{64, 96, 2}})
    EXPECT_THROW(start_parts(launch, tile), Error) << tile.rows << " x " << tile.columns << ", " << tile.parts << " parts";
}

// All blocks of a launch have a multiprocessor, and what is shallow or has many rows stays whole.
TEST(SplitLinear, TilesFillADeviceAtMostOnce) {
  for (const int multiprocessors : {16, 114, 132}) {
    for (const int64_t columns : {768, 1024}) {
      for (int64_t rows = 1; rows <= 2000; ++rows) {
        const SplitLinearTile tile = cuda::split_linear_tile(rows, columns, 4 * columns, multiprocessors);
        if (tile.parts == 0) continue;
        ASSERT_LE(rows, cuda::kMostSplitLinearRows);
        ASSERT_GE(tile.parts, 2);
        ASSERT_LE(tile.parts, cuda::kMostLayerNormParts);
        ASSERT_LE((rows + tile.rows - 1) / tile.rows * ((columns + tile.columns - 1) / tile.columns) * tile.parts,
                  multiprocessors);
        ASSERT_EQ(cuda::split_linear_tile(rows, columns, columns, multiprocessors).parts, 0);
      }
    }
  }
  EXPECT_EQ(cuda::split_linear_tile(0, 768, 3072, 132).parts, 0);
  EXPECT_EQ(cuda::split_linear_tile(128, 768, 3072, 132).parts, 4);
  EXPECT_EQ(cuda::split_linear_tile(384, 768, 3072, 132).parts, 3);
  EXPECT_EQ(cuda::split_linear_tile(1024, 768, 3072, 132).columns, 96);
}

}  // namespace
}  // namespace bertie::test
