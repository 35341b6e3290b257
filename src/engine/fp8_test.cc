// Whole networks in fp8 on the reference, by the plan that a GPU is given, and as engine files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/mapped_file.h"
#include "base/message_of_test.h"
#include "base/temporary_folder_test.h"
#include "bertie/calibration.h"
#include "bertie/engine.h"
#include "bertie/model.h"
#include "engine/packed_test.h"

namespace bertie {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kSmall = "2,64,4,128";
constexpr const char* kBundled = "models/minilm-l6-mlm";

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

Packed three_sequences() {
  Packed batch;
  std::mt19937 random(1);
  for (const size_t length : {5, 1, 30}) {
    std::vector<int32_t> ids(length);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % 30000);
    batch.add(ids);
  }
  return batch;
}

// Of an engine's layers in fp8: the mean of each channel is 0.125.
std::shared_ptr<const Calibration> calibration_of(const Engine& engine) {
  auto calibration = std::make_shared<Calibration>();
  for (const NodeId id : engine.network().order()) {
    const Node& node = engine.network().node(id);
    if (node.op != "fp8_linear") continue;
    TensorCalibration& layer = calibration->layers[node.name];
    layer.scale = 0.25f;
    layer.mean.assign(static_cast<size_t>(engine.network().value(node.input(2)).shape[1].size), 0.125f);
  }
  return calibration;
}

TEST(Fp8Engine, AgreesWithFp32) {
  const Model model = Model::random(kSmall);
  const Packed batch = three_sequences();
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
  const double calibrated =
      relative_error(run(build(model.network(), "fp8", calibration_of(*engine)))->output("last_hidden_state"),
                     expected->output("last_hidden_state"));
  EXPECT_LT(calibrated, 0.1);
  EXPECT_NE(calibrated, plain);
}

// Engine files that hold layers in fp8.
class Fp8File : public testing::Test, protected TemporaryFolder {
 protected:
  static EngineOptions on_reference(std::string precision = "fp8", std::vector<std::string> layers = {}) {
    EngineOptions options{.device = "reference", .precision = std::move(precision), .threads = 1};
    options.layer_precision = std::move(layers);
    return options;
  }
};

std::vector<float> hidden_of(const Network& network, const EngineOptions& options) {
  Session session(Engine::build(network, options), {64, 4, 32, 0});
  const Packed batch = three_sequences();
  session.run(batch.view());
  const TensorView view = session.output("last_hidden_state");
  return {view.as<float>(), view.as<float>() + view.shape.elements()};
}

size_t layers_in(const Network& network, std::string_view op) {
  const auto order = network.order();
  return static_cast<size_t>(std::count_if(order.begin(), order.end(), [&](NodeId id) { return network.node(id).op == op; }));
}

TEST_F(Fp8File, GivesTheBitsOfTheModelThatItWasBuiltFrom) {
  const Model model = Model::random(kSmall);
  EngineOptions calibrated = on_reference();
  calibrated.calibration = calibration_of(*Engine::build(model.network(), on_reference()));
  const std::vector<float> plain = hidden_of(model.network(), on_reference());
  for (const auto& [options, in_fp8, in_int8] : std::vector<std::tuple<EngineOptions, size_t, size_t>>{
           {on_reference(), 8, 0},
           {calibrated, 8, 0},
           {on_reference("fp8", {"*layer.1.*=fp32"}), 4, 0},
           {on_reference("fp8", {"*layer.1.*=int8", "*.output.dense=bf16"}), 2, 2},
           {on_reference("fp32", {"*intermediate*=fp8"}), 2, 0},
       }) {
    const std::string what = fmt::format("{}, {}{}", options.precision, fmt::join(options.layer_precision, " "),
                                         options.calibration ? "calibrated" : "");
    const std::vector<float> expected = hidden_of(model.network(), options);
    EXPECT_EQ(expected == plain, in_fp8 == 8 && !options.calibration) << what;
    save_engine(model, path("x"), options);
    const Model loaded = Model::load(path("x"));
    EXPECT_EQ(layers_in(loaded.network(), "fp8_linear"), in_fp8) << what;
    EXPECT_EQ(layers_in(loaded.network(), "int8_linear"), in_int8) << what;
    for (const char* precision : {"fp8", "int8", "fp32"})  // what is held is not chosen again
      EXPECT_EQ(hidden_of(loaded.network(), on_reference(precision)), expected) << what << " in " << precision;
  }
}

// Rows that are chosen before anything is quantised, and a decoder that is an embedding's table too.
TEST_F(Fp8File, OfTheBundledModelMasksAreFilledAlike) {
  const Model model = Model::load(kBundled);
  const auto logits = [](const Network& network) {
    EngineOptions options = on_reference();
    options.outputs = options.select_rows = {"logits"};
    Session session(Engine::build(network, options), {.tokens = 16, .sequences = 1, .longest = 16, .rows = 1});
    const std::vector<int32_t> ids = {101, 3000, 103, 4000, 102}, lengths = {0, 5}, rows = {2};
    session.run({.token_ids = ids, .cumulative_lengths = lengths, .head_rows = rows});
    const TensorView view = session.output("logits");
    return std::vector<float>(view.as<float>(), view.as<float>() + view.shape.elements());
  };
  save_engine(model, path("x"), on_reference());
  const Model loaded = Model::load(path("x"));
  EXPECT_EQ(layers_in(loaded.network(), "fp8_linear"), 25u);
  EXPECT_EQ(layers_in(loaded.network(), "linear"), 1u);
  EXPECT_EQ(logits(loaded.network()), logits(model.network()));
}

TEST_F(Fp8File, HoldsAQuarterOfFloat32) {
  const Model model = Model::random(kSmall);
  save_engine(model, path("whole"), on_reference("fp32"));
  save_engine(model, path("x"), on_reference());
  constexpr double kWeights = 2 * (4 * 64 * 64 + 2 * 64 * 128);
  const double saved = static_cast<double>(fs::file_size(path("whole"))) - static_cast<double>(fs::file_size(path("x")));
  EXPECT_GT(saved, (3 - 0.25) * kWeights);  // scales, and a few more nodes
  EXPECT_LT(saved, 3 * kWeights);
  save_engine(Model::load(path("x")), path("again"), on_reference());
  EXPECT_TRUE(read_text_file(path("again")) == read_text_file(path("x")));
}

TEST_F(Fp8File, RunsInFp8Alone) {
  const Model model = Model::random(kSmall);
  EngineOptions calibrated = on_reference();
  calibrated.calibration = calibration_of(*Engine::build(model.network(), on_reference()));
  save_engine(model, path("x"), calibrated);
  const Model loaded = Model::load(path("x"));
  const auto refusal = [&](const EngineOptions& options) {
    return message_of([&] { Engine::build(loaded.network(), options); });
  };
  for (const char* precision : {"fp32", "fp8"}) {
    EXPECT_THAT(refusal({.device = "cpu", .precision = precision}),
                AllOf(HasSubstr("attention.self.qkv' is held in fp8"), HasSubstr("device cpu has fp32, int8")));
  }
  EXPECT_THAT(refusal(on_reference("fp8", {"*layer.1.output.dense=fp32"})), HasSubstr("its weight is held in fp8"));
  EXPECT_THAT(refusal(calibrated), HasSubstr("in eight bits already"));
  EXPECT_THAT(message_of([&] { export_onnx(loaded, path("x.onnx"), {}); }), HasSubstr("cannot be exported: layers held in fp8"));
  save_engine(model, path("y"), on_reference());
  EXPECT_THAT(message_of([&] { save_engine(Model::load(path("y")), path("z"), calibrated); }),
              HasSubstr("in eight bits already"));
}

TEST_F(Fp8File, DamagedCodesAreRefused) {
  save_engine(Model::random(kSmall), path("x"), on_reference());
  const Model loaded = Model::load(path("x"));
  const Network& network = loaded.network();
  const auto order = network.order();
  const auto layer = std::find_if(order.begin(), order.end(), [&](NodeId id) { return network.node(id).op == "fp8_linear"; });
  ASSERT_NE(layer, order.end());
  const TensorView codes = network.value(network.node(*layer).input(2)).constant->view();
  ASSERT_EQ(codes.dtype, DType::u8);
  std::string bytes = read_text_file(path("x"));
  const size_t at = bytes.find(std::string(codes.as<char>(), 64));
  ASSERT_NE(at, std::string::npos);
  bytes[at + 5] = static_cast<char>(bytes[at + 5] ^ 1);
  std::ofstream(path("broken"), std::ios::binary) << bytes;
  EXPECT_THAT(message_of([&] { Model::load(path("broken")); }),
              AllOf(HasSubstr(path("broken")), HasSubstr("section weights"), HasSubstr("altered or damaged")));
}

}  // namespace
}  // namespace bertie
