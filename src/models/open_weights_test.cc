// A checkpoint's tensors by name, of the bundled model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/message_of_test.h"
#include "bertie/model.h"

namespace bertie {
namespace {

using testing::HasSubstr;

constexpr const char* kFolder = "models/minilm-l6-mlm";
constexpr const char* kBias = "cls.predictions.bias";

TEST(OpenWeights, GivesTensorsAsTheyAreStored) {
  const Weights weights = Weights::open(kFolder);
  const Tensor bias = weights.tensor(kBias);
  EXPECT_EQ(bias.dtype, DType::f16);
  EXPECT_EQ(bias.shape, (Shape{30522}));
  EXPECT_TRUE(weights.has(kBias));
  EXPECT_FALSE(weights.has("cls.predictions.decoder.weight"));
  const auto names = weights.names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::count(names.begin(), names.end(), kBias), 1);
  // One file by its path is the same, and its tensors outlive it.
  const Tensor same = Weights::open(std::string(kFolder) + "/model.safetensors").tensor(kBias);
  EXPECT_TRUE(std::equal(same.view().as<uint16_t>(), same.view().as<uint16_t>() + 30522, bias.view().as<uint16_t>()));
}

TEST(OpenWeights, SaysWhatIsMissing) {
  const Weights weights = Weights::open(kFolder);
  EXPECT_THAT(message_of([&] { weights.tensor("bert.pooler.dense.weight"); }),
              HasSubstr("models/minilm-l6-mlm: tensor 'bert.pooler.dense.weight' is missing"));
  EXPECT_THROW(Weights::open("models/none"), Error);
  EXPECT_THROW(Weights::open("models/none.safetensors"), Error);
}

}  // namespace
}  // namespace bertie
