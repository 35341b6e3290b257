// linear_layer_norm by its launcher against layer norms in double, at every width that it has, few rows among them.
#include "tests/cuda/linear_layer_norm.h"

namespace bertie::test {
namespace {

constexpr int64_t kColumns[] = {768, 1024};

TEST_F(CudaLinearLayerNorm, OfEveryWidth) {
  for (const int64_t columns : kColumns)
    for (const int64_t depth : {384, 768, 776, 3072})
      check_rows({LinearOperands::elements, DType::f16, columns, depth, false, depth != 776});
}

TEST_F(CudaLinearLayerNorm, InBfloat16) {
  for (const int64_t columns : kColumns) check_rows({LinearOperands::elements, DType::bf16, columns, 768});
}

TEST_F(CudaLinearLayerNorm, InInt8) {
  for (const int64_t columns : kColumns)
    for (const int64_t depth : {768, 3072})
      check_rows({LinearOperands::int8, DType::f16, columns, depth, depth == 768, columns != 1024}, {false, true});
}

TEST_F(CudaLinearLayerNorm, InFp8) {
  for (const int64_t columns : kColumns)
    for (const int64_t depth : {768, 3072})
      check_rows({LinearOperands::fp8, DType::f16, columns, depth, depth == 768, columns != 1024}, {false, true});
}

// A group takes several tiles, so that within a launch its mailboxes are used again. The fewer rows are where, of 768 columns, groups of four
// blocks with 192 each take fewer turns than groups of three.
TEST_F(CudaLinearLayerNorm, ManyTilesAGroup) {
  for (const int64_t columns : kColumns) {
    const auto check_many = [&](LinearOperands operands, DType dtype, std::initializer_list<bool> quantizes) {
      check_rows({operands, dtype, columns, 768, false, true, 17000}, quantizes, {17000, 12672});
    };
    check_many(LinearOperands::elements, DType::f16, {false});
    check_many(LinearOperands::elements, DType::bf16, {false});
    check_many(LinearOperands::int8, DType::f16, {false, true});
    check_many(LinearOperands::fp8, DType::f16, {false, true});
  }
}

// They share mailboxes, and each begins while the one before ends.
TEST_F(CudaLinearLayerNorm, LaunchesFollowEachOther) {
  const int64_t most = 17000;
  LinearLayerNormOperands halves = random_operands({LinearOperands::elements, DType::f16, 768, 384, false, true, most}),
                          bf16 = random_operands({LinearOperands::elements, DType::bf16, 1024, 768, false, true, most}),
                          int8 = random_operands({LinearOperands::int8, DType::f16, 1024, 1024, true, true, most}),
                          fp8 = random_operands({LinearOperands::fp8, DType::f16, 768, 768, false, false, most});
  struct Size {
    LinearLayerNormOperands& operands;
    int64_t rows, live;
    bool quantizes;
  };
  std::vector<LinearLayerNormLaunch> launches;
  for (const Size& size :
       {Size{halves, 1, 1, false}, Size{halves, most, most, false}, Size{int8, 300, 300, true}, Size{bf16, 12672, 6000, false},
        Size{fp8, 12672, 12672, true}, Size{fp8, 200, 0, false}, Size{halves, 12672, 12672, false}, Size{int8, most, 9000, false},
        Size{bf16, 129, 129, false}, Size{fp8, most, most, true}})
    launches.push_back(prepare(size.operands, size.rows, size.live, size.quantizes));
  for (const LinearLayerNormLaunch& launch : launches) start(launch);
  for (const LinearLayerNormLaunch& launch : launches) check(launch);
}

// All sums are multiples of 0.5, which f16 holds there: mean squares less squared means would be off by more than the variance.
TEST_F(CudaLinearLayerNorm, OfLargeMeanBesideSmallVariance) {
  std::mt19937 random(8);
  for (const int64_t columns : kColumns) {
    const int64_t rows = 300, depth = 384;
    const auto halves = [&](int64_t count, unsigned of, float shift) {
      std::vector<float> values(static_cast<size_t>(count));
      for (float& value : values) {
        const unsigned drawn = random() % of;
        value = shift + (drawn == 0 ? 0.5f : drawn == 1 ? -0.5f : 0.0f);
      }
      return values;
    };
    std::vector<float> x = halves(rows * depth, 3, 0);
    for (float& value : x) value *= 2;
    LinearLayerNormOperands operands({LinearOperands::elements, DType::f16, columns, depth});
    operands.x = floats({rows, depth}, x, DType::f16);
    operands.weight = floats({columns, depth}, halves(columns * depth, 200, 0), DType::f16);
    operands.residual = floats({rows, columns}, halves(rows * columns, 3, 0), DType::f16);
    operands.bias = vector(halves(columns, 3, 1000));
    operands.gamma = vector(std::vector<float>(static_cast<size_t>(columns), 1));
    operands.beta = vector(std::vector<float>(static_cast<size_t>(columns), 0));
    check(operands, rows, rows, false);
  }
}

TEST_F(CudaLinearLayerNorm, TellOfOverflow) {
  const int64_t rows = 300, live = 140, depth = 384;
  for (const int64_t columns : kColumns)
    for (const float sign : {1.0f, -1.0f})
      for (const int64_t bad : {int64_t{3}, int64_t{139}, int64_t{140}, int64_t{299}}) {
        std::vector<float> x(static_cast<size_t>(rows * depth), 0), weight(static_cast<size_t>(columns * depth), 0);
        std::fill_n(x.begin() + bad * depth, depth, sign * 1000);
        std::fill_n(weight.end() - depth, depth, 1);  // of the last column alone
        const std::vector<float> ones(static_cast<size_t>(columns), 1);
        LinearLayerNormOperands operands({LinearOperands::elements, DType::f16, columns, depth, false, false});
        operands.x = floats({rows, depth}, x, DType::f16);
        operands.weight = floats({columns, depth}, weight, DType::f16);
        operands.residual = floats({rows, columns}, std::vector<float>(static_cast<size_t>(rows * columns), 1), DType::f16);
        operands.gamma = operands.beta = vector(ones);
        const LinearLayerNormLaunch launch = prepare(operands, rows, live, false);
        start(launch);
        EXPECT_EQ(overflow(launch), bad < live ? kStep : kNoOverflow) << columns << " columns, row " << bad;
      }
}

TEST(LinearLayerNorm, TakesWidthsOfWholeTilesAndPaysWhereABlockTakesManyTiles) {
  EXPECT_TRUE(cuda::linear_layer_norm_takes(768, 768));
  EXPECT_FALSE(cuda::linear_layer_norm_takes(640, 768));
  EXPECT_FALSE(cuda::linear_layer_norm_takes(768, 752));
  EXPECT_FALSE(cuda::linear_layer_norm_takes(768, 776));
  EXPECT_FALSE(cuda::linear_layer_norm_takes(384, 768));
  const auto pays = [](int64_t rows, int64_t columns, LinearOperands operands) {
    return cuda::linear_layer_norm_pays(rows, columns, operands, 132);
  };
  EXPECT_TRUE(pays(12288, 768, LinearOperands::elements));
  EXPECT_FALSE(pays(4096, 768, LinearOperands::elements));
  EXPECT_FALSE(pays(0, 768, LinearOperands::elements));
  EXPECT_FALSE(pays(12288, 768, LinearOperands::fp8));
  EXPECT_TRUE(pays(49152, 768, LinearOperands::int8));
  EXPECT_TRUE(pays(22784, 1024, LinearOperands::fp8));
}

// Two for each row of a tile, writer and reader of a group, behind the first.
TEST(LinearLayerNorm, HasMailboxesForAllGroups) {
  for (const int multiprocessors : {16, 114, 132})
    for (const int64_t blocks : {3, 4}) {
      const int64_t groups = multiprocessors / blocks;
      EXPECT_GE(cuda::linear_layer_norm_mailbox_bytes(multiprocessors), (1 + groups * 2 * blocks * blocks * 128) * 16)
          << multiprocessors << ", groups of " << blocks;
    }
}

// At most three blocks of a launch wait for others that have no multiprocessor.
TEST(LinearLayerNorm, StreamsThatWaitLeaveMultiprocessors) {
  for (const int multiprocessors : {16, 114, 132}) {
    EXPECT_GE(cuda::most_linear_layer_norm_streams(multiprocessors), 1);
    EXPECT_LT(3 * cuda::most_linear_layer_norm_streams(multiprocessors), multiprocessors);
  }
}

}  // namespace
}  // namespace bertie::test
