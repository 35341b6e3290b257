// Whole networks in fp8 on the reference, by the plan that a GPU is given.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "bertie/calibration.h"
#include "bertie/engine.h"
#include "bertie/model.h"
#include "engine/packed_test.h"

namespace bertie {
namespace {

std::shared_ptr<const Engine> build(const Network& network, const std::string& precision,
                                    std::shared_ptr<const Calibration> calibration = nullptr) {
  EngineOptions options{.device = "reference", .precision = precision, .threads = 1};
  options.outputs = {"last_hidden_state"};
  options.calibration = std::move(calibration);
  return Engine::build(network, options);
}

double relative_error(const TensorView& actual, const TensorView& expected) {
  double error = 0, norm = 0;
  for (int64_t i = 0; i < expected.shape.elements(); ++i) {
    error += std::pow(static_cast<double>(actual.as<float>()[i]) - expected.as<float>()[i], 2);
    norm += std::pow(static_cast<double>(expected.as<float>()[i]), 2);
  }
  return std::sqrt(error / norm);
}

TEST(Fp8Engine, AgreesWithFp32) {
  const Model model = Model::random("2,64,4,128");
  Packed batch;
  std::mt19937 random(1);
  for (const size_t length : {5, 1, 30}) {
    std::vector<int32_t> ids(length);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % 30000);
    batch.add(ids);
  }
  const auto run = [&](const std::shared_ptr<const Engine>& engine) {
    auto session = std::make_unique<Session>(engine, SessionLimits{64, 4, 32, 0});
    session->run(batch.view());
    return session;
  };
  const auto expected = run(build(model.network(), "fp32"));
  const auto engine = build(model.network(), "fp8");
  int products = 0;
  for (const StepInfo& step : engine->steps()) {
    EXPECT_NE(step.op, "quantize_rows") << step.name << ": not by the op before";
    EXPECT_NE(step.op, "linear") << step.name;
    products += step.op == "fp8_linear" && step.precision == "fp8";
  }
  EXPECT_EQ(products, 8);
  const double plain = relative_error(run(engine)->output("last_hidden_state"), expected->output("last_hidden_state"));
  EXPECT_LT(plain, 0.1);
  EXPECT_GT(plain, 0.005) << "was anything rounded?";

  // Channels far from zero are what a calibration is for: their means are taken out before e4m3 rounds them.
  auto calibration = std::make_shared<Calibration>();
  for (const StepInfo& step : engine->steps()) {
    if (step.op != "fp8_linear") continue;
    TensorCalibration& layer = calibration->layers[step.name];
    layer.scale = 0.25f;
    const auto node = [&] {
      for (NodeId id : engine->network().order())
        if (engine->network().node(id).name == step.name) return engine->network().node(id);
      return Node{};
    }();
    layer.mean.assign(static_cast<size_t>(engine->network().value(node.input(2)).shape[1].size), 0.125f);
  }
  const double calibrated = relative_error(run(build(model.network(), "fp8", calibration))->output("last_hidden_state"),
                                           expected->output("last_hidden_state"));
  EXPECT_LT(calibrated, 0.1);
  EXPECT_NE(calibrated, plain);
}

}  // namespace
}  // namespace bertie
