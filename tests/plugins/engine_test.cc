// Plugins' ops in engines: packed, selected, refused, composed and failing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/message_of_test.h"
#include "bertie/engine.h"
#include "bertie/plugin.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

using testing::HasSubstr;

// x + 1 on the CPU, and what its attribute `mode` says instead.
class AddOne : public plugin::Kernel {
 public:
  explicit AddOne(std::string mode) : mode_(std::move(mode)) {}
  size_t workspace_bytes(const plugin::Limits& limits, int threads) const override {
    if (mode_ == "workspace fails") throw std::runtime_error("lost");
    return mode_ == "workspace" ? static_cast<size_t>(limits.tokens) * sizeof(float) + static_cast<size_t>(threads) : 0;
  }
  void run(const plugin::Run& run) const override {
    const std::span<const int64_t> shape = run.input_shape(0);
    if (mode_ == "run fails" && run.input<float>(0)[0] > 100) throw std::runtime_error("over 100");
    if (mode_ == "workspace" && run.workspace().size() < static_cast<size_t>(shape[0]) * sizeof(float))
      throw std::runtime_error("no room");
    const int64_t width = shape[1];
    run.parallel_for(shape[0], [&](int64_t row, int worker) {
      if (worker < 0 || worker >= run.threads()) throw std::logic_error("worker");
      if (mode_ == "loop fails" && row == 1) throw std::runtime_error("row 1");
      for (int64_t i = row * width; i < (row + 1) * width; ++i) run.output<float>(0)[i] = run.input<float>(0)[i] + 1;
    });
  }

 private:
  std::string mode_;
};

struct AddOneOp : plugin::Op {
  AddOneOp() : Op("test.engine::AddOne", 1) {
    add_input("x");
    add_attribute("mode", std::string("good"));
    add_kernel("cuda", "add_one_cuda", [](const auto&, const auto&) -> std::unique_ptr<plugin::Kernel> { throw 1; });
    add_kernel("cpu", "add_one_choosy",
               [](const auto&, const auto&) -> std::unique_ptr<plugin::Kernel> { plugin::refuse("choosy"); });
    add_kernel("cpu", "add_one",
               [](const plugin::NodeView& node, const plugin::Device& device) -> std::unique_ptr<plugin::Kernel> {
                 const std::string mode = node.text("mode");
                 if (mode == "refused" || mode == "nothing") plugin::refuse("mode " + mode);
                 if (mode == "prepare fails") throw std::runtime_error("no tables");
                 if (mode == "gives none") return nullptr;
                 if (std::string(device.name) != "cpu" || device.threads < 1 || device.stream) throw std::logic_error("device");
                 return std::make_unique<AddOne>(mode);
               });
  }
  void infer(const plugin::ShapeRule& rule) const override {
    rule.require(rule.dtype(0) == DType::f32, "x of f32");
    rule.output(DType::f32, rule.shape(0));
  }
  bool row_wise(const plugin::NodeView& node) const override { return node.text("mode") != "mixes rows"; }
  bool compose(const plugin::Composition& graph) const override {
    if (graph.text("mode") == "nothing") return false;
    graph.output(graph.add_node("elementwise", {graph.input(0), graph.add_scalar(1)}, {{"function", std::string("add")}}));
    return true;
  }
};

struct PluginEngineTest : testing::Test {
  static void SetUpTestSuite() {
    plugin::register_ops<AddOneOp>("engine_test", "0.9");
    load_plugin(LAYER_NORM_PLUGIN);
  }

  // table rows 0, 1, 2, ... of three equal numbers, looked up.
  static ValueId lookup(Network& network) {
    const ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
    std::vector<float> table;
    for (int i = 0; i < 200; ++i) table.insert(table.end(), 3, static_cast<float>(i));
    return network.add_embedding(network.add_constant("table", Tensor::from_floats({200, 3}, table)), ids, "words");
  }
  static Network add_one(const std::string& mode) {
    Network network;
    network.add_output("y", network.add_node("test.engine::AddOne", {lookup(network)}, {{"mode", mode}}, "one")[0]);
    return network;
  }
  static std::vector<float> run(Session& session, std::vector<int32_t> tokens, std::vector<int32_t> rows = {}) {
    const std::vector<int32_t> starts = {0, 1, static_cast<int32_t>(tokens.size())};
    Batch batch;
    batch.token_ids = tokens;
    batch.cumulative_lengths = starts;
    batch.head_rows = rows;
    session.run(batch);
    const TensorView y = session.output("y");
    std::vector<float> firsts;
    for (int64_t row = 0; row < y.shape[0]; ++row) firsts.push_back(y.as<float>()[row * y.shape[1]]);
    return firsts;
  }
};

TEST_F(PluginEngineTest, AKernelIsAskedAndNamedWithItsReason) {
  const auto engine = Engine::build(add_one("good"), {.threads = 3});
  ASSERT_EQ(engine->steps().size(), 2u);
  const StepInfo& step = engine->steps()[1];
  EXPECT_EQ(step.op, "test.engine::AddOne");
  EXPECT_EQ(step.kernel, "plugin engine_test v0.9");
  EXPECT_EQ(step.device, "cpu");
  EXPECT_EQ(step.reason, "add_one; refused: add_one_choosy: choosy");
  EXPECT_EQ(step.output_shape, "[tokens, 3]");  // packed, since it is row-wise
  Session session(engine);
  EXPECT_EQ(run(session, {4, 7, 9}), (std::vector<float>{5, 8, 10}));
}

TEST_F(PluginEngineTest, RowsAreSelectedThroughIt) {
  EngineOptions options;
  options.select_rows = {"y"};
  Session session(Engine::build(add_one("good"), options));
  EXPECT_EQ(run(session, {4, 7, 9}, {2}), std::vector<float>{10});
}

TEST_F(PluginEngineTest, WorkspaceIsSizedFromTheLimits) {
  Session session(Engine::build(add_one("workspace")), {.tokens = 8, .sequences = 2, .longest = 8});
  EXPECT_EQ(run(session, {4, 7, 9}), (std::vector<float>{5, 8, 10}));
  EXPECT_EQ(message_of([] { Session failing(Engine::build(add_one("workspace fails"))); }),
            "plugin 'engine_test v0.9', test.engine::AddOne 'one': kernel add_one: it cannot tell its workspace");
}

TEST_F(PluginEngineTest, WhereNoKernelTakesItTheCompositionRuns) {
  const auto engine = Engine::build(add_one("refused"));
  EXPECT_EQ(engine->steps()[1].op, "elementwise");
  EXPECT_EQ(engine->steps()[1].name, "one.elementwise");
  Session session(engine);
  EXPECT_EQ(run(session, {4, 7, 9}), (std::vector<float>{5, 8, 10}));
  EXPECT_EQ(
      message_of([] { Engine::build(add_one("nothing")); }),
      "test.engine::AddOne 'one': no kernel takes it: plugin engine_test v0.9: add_one_choosy: choosy; add_one: mode nothing");
}

TEST_F(PluginEngineTest, TheReferenceDeviceRunsTheMeaningWhereThereIsOne) {
  EngineOptions options;
  options.device = "reference";
  const auto engine = Engine::build(add_one("good"), options);
  EXPECT_EQ(engine->steps()[1].op, "elementwise");
  Session session(engine);
  EXPECT_EQ(run(session, {4, 7, 9}), (std::vector<float>{5, 8, 10}));
}

TEST_F(PluginEngineTest, FailuresOfPluginCodeAreErrorsThatNameIt) {
  const std::string named = "plugin 'engine_test v0.9', test.engine::AddOne 'one': kernel add_one: ";
  EXPECT_EQ(message_of([] { Engine::build(add_one("prepare fails")); }), named + "no tables");
  EXPECT_EQ(message_of([] { Engine::build(add_one("gives none")); }), named + "prepare gave no kernel");
  Session session(Engine::build(add_one("run fails")));
  EXPECT_EQ(message_of([&] { run(session, {150, 7, 9}); }), named + "over 100");
  EXPECT_EQ(run(session, {4, 7, 9}), (std::vector<float>{5, 8, 10}));  // still usable
  Session loop(Engine::build(add_one("loop fails"), {.threads = 2}));
  EXPECT_EQ(message_of([&] { run(loop, {4, 7, 9}); }), named + "row 1");
  EXPECT_EQ(run(loop, {4}), std::vector<float>{5});
}

// The example's stages and the op's composition, beside bertie's own layer_norm.
TEST_F(PluginEngineTest, TheExampleEqualsLayerNormOnEveryDevice) {
  std::mt19937 random(3);
  const int64_t width = 100;
  for (const char* device : {"cpu", "reference"}) {
    for (int64_t stage : {1, 2, 3}) {
      Network network;
      const ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
      const ValueId x = network.add_embedding(network.add_constant("table", random_tensor(random, {50, width})), ids);
      const ValueId gamma = network.add_constant("gamma", random_tensor(random, {width}));
      const ValueId beta = network.add_constant("beta", random_tensor(random, {width}));
      network.add_output("own", network.add_layer_norm(x, gamma, beta, 1e-5));
      network.add_output("y", network.add_node("bertie.examples::LayerNorm", {x, gamma, beta}, {{"stage", stage}})[0]);
      EngineOptions options;
      options.device = device;
      Session session(Engine::build(network, options));
      run(session, {4, 7, 9, 30});
      const TensorView own = session.output("own"), y = session.output("y");
      ASSERT_EQ(y.shape, own.shape);
      for (int64_t i = 0; i < y.shape.elements(); ++i)
        ASSERT_NEAR(y.as<float>()[i], own.as<float>()[i], 2e-5) << device << " stage " << stage << " element " << i;
    }
  }
}

}  // namespace
}  // namespace bertie::test
