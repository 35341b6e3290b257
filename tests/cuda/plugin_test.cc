// The stages of examples/layer_norm_plugin on a GPU: against float64, through the engine, and recorded.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "backend/plugin_kernels.h"
#include "base/float_element.h"
#include "bertie/engine.h"
#include "bertie/plugin.h"
#include "engine/packed_test.h"
#include "tests/cuda/gpu.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

constexpr double kEpsilon = 1e-12;

std::string library() {
  const char* path = std::getenv("BERTIE_LAYER_NORM_PLUGIN");  // where the tests were carried elsewhere
  return path ? path : LAYER_NORM_PLUGIN;
}

class CudaPlugin : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    load_plugin(library());
  }
};

TEST_F(CudaPlugin, StagesEqualFloat64) {
  std::mt19937 random(12);
  for (int64_t extent : {1, 3, 4, 8, 31, 32, 33, 120, 128, 130, 384, 768, 1023, 1024, 1028, 2048, 4096, 5000}) {
    for (int64_t rows : {0, 1, 7, 8, 9, 50}) {
      for (int64_t stage : {1, 2, 3}) {
        for (DType dtype : {DType::f32, DType::f16}) {
          if (dtype == DType::f16 && stage < 3) continue;
          const Tensor x = random_tensor(random, {rows, extent}, dtype, 3, 10);
          const Tensor gamma = random_tensor(random, {extent}, DType::f32, 0.5f, 1), beta = random_tensor(random, {extent});
          const OpCase op_case{"bertie.examples::LayerNorm",
                               {{"epsilon", kEpsilon}, {"stage", stage}},
                               {{x}, {gamma, true}, {beta, true}},
                               {rows},
                               {}};
          const OpResult actual = run_device_op(plugin_cuda_backend(), device, op_case, "fp32");
          ASSERT_NE(actual.kernel, "") << actual.refusal;
          for (int64_t row = 0; row < rows; ++row) {
            const auto value = [&](int64_t i) {
              return static_cast<double>(float_element(x.view(), static_cast<size_t>(row * extent + i)));
            };
            double mean = 0, variance = 0;
            for (int64_t i = 0; i < extent; ++i) mean += value(i) / static_cast<double>(extent);
            for (int64_t i = 0; i < extent; ++i) variance += std::pow(value(i) - mean, 2) / static_cast<double>(extent);
            for (int64_t i = 0; i < extent; ++i) {
              const double gammas = float_element(gamma.view(), static_cast<size_t>(i)),
                           betas = float_element(beta.view(), static_cast<size_t>(i));
              const double exact = (value(i) - mean) / std::sqrt(variance + kEpsilon) * gammas + betas;
              const double got = actual.values[static_cast<size_t>(row * extent + i)];
              // A row of one element, or of equal ones, is rounding alone over the square root of epsilon.
              if (extent == 1) continue;
              const double bound = dtype == DType::f16 ? 2e-3 * (std::abs(exact) + 1) : 1e-4 * (std::abs(gammas) + 1);
              ASSERT_LE(std::abs(got - exact), bound) << "stage " << stage << " of " << extent << ", row " << row << ", " << i;
            }
          }
        }
      }
    }
  }
}

// In a network of every precision, as its first batch, recorded and replayed.
TEST_F(CudaPlugin, StagesRunInAnEngine) {
  constexpr int64_t kHidden = 384;
  std::mt19937 random(13);
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  const ValueId gamma = network.add_constant("gamma", random_tensor(random, {kHidden}, DType::f32, 0.5f, 1));
  const ValueId beta = network.add_constant("beta", random_tensor(random, {kHidden}));
  ValueId x = network.add_embedding(network.add_constant("table", random_tensor(random, {100, kHidden})), ids);
  x = network.add_linear(x, network.add_constant("w", random_tensor(random, {kHidden, kHidden}, DType::f32, 0.1f)), kNone);
  network.add_output("own", network.add_layer_norm(x, gamma, beta, 1e-5));
  for (int64_t stage : {1, 2, 3}) {
    const Attributes attributes = {{"epsilon", 1e-5}, {"stage", stage}};
    network.add_output(std::to_string(stage), network.add_node("bertie.examples::LayerNorm", {x, gamma, beta}, attributes)[0]);
  }
  for (const char* precision : {"fp32", "fp16", "bf16"}) {
    EngineOptions options;
    options.device = "cuda";
    options.precision = precision;
    const auto engine = Engine::build(network, options);
    EXPECT_TRUE(engine->execution().planned) << engine->execution().reason;
    Session session(engine, {512, 16, 128, 0});
    for (int round = 0; round < 4; ++round) {
      Packed batch;
      for (int length : {100, 1, 17}) {
        std::vector<int32_t> sequence(static_cast<size_t>(length));
        for (int32_t& id : sequence) id = static_cast<int32_t>(random() % 100);
        batch.add(sequence);
      }
      session.run(batch.view());
      const TensorView own = session.output("own");
      for (const char* stage : {"1", "2", "3"}) {
        const TensorView y = session.output(stage);
        const double bound = precision == std::string("fp32") ? 1e-4 : precision == std::string("fp16") ? 1e-2 : 5e-2;
        for (int64_t i = 0; i < own.shape.elements(); ++i)
          ASSERT_NEAR(y.as<float>()[i], own.as<float>()[i], bound) << "stage " << stage << " in " << precision;
      }
    }
  }
}

}  // namespace
}  // namespace bertie::test
