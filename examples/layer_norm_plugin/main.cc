// A network with a plugin's op, laid down by hand: every stage of examples/layer_norm_plugin beside bertie's own layer_norm.
//   example_layer_norm_plugin layer_norm_plugin.so [cpu|cuda]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "bertie/bertie.h"

namespace {

bertie::Tensor waves(const bertie::Shape& shape, double pitch, double shift) {
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(std::sin(pitch * static_cast<double>(i)) + shift);
  return bertie::Tensor::from_floats(shape, values);
}

}  // namespace

int main(int argc, char** argv) try {
  using namespace bertie;
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: %s layer_norm_plugin.so [cpu|cuda]\n", argv[0]);
    return 2;
  }
  const PluginInfo plugin = load_plugin(argv[1]);
  std::printf("plugin %s %s: %s\n", plugin.name.c_str(), plugin.version.c_str(), plugin.ops[0].c_str());

  constexpr int64_t kHidden = 384;
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  const ValueId x = network.add_embedding(network.add_constant("table", waves({100, kHidden}, 0.37, 0.5)), ids);
  const ValueId gamma = network.add_constant("gamma", waves({kHidden}, 0.11, 1.0));
  const ValueId beta = network.add_constant("beta", waves({kHidden}, 0.23, 0.0));
  network.add_output("layer_norm", network.add_layer_norm(x, gamma, beta, 1e-12));
  const std::vector<std::string> stages = {"stage_1", "stage_2", "stage_3"};
  for (size_t i = 0; i < stages.size(); ++i) {
    const Attributes attributes = {{"epsilon", 1e-12}, {"stage", static_cast<int64_t>(i + 1)}};
    network.add_output(stages[i], network.add_node("bertie.examples::LayerNorm", {x, gamma, beta}, attributes, stages[i])[0]);
  }

  const std::string device = argc == 3 ? argv[2] : "cpu";
  const auto engine = Engine::build(network, {.device = device});
  for (const StepInfo& step : engine->steps())
    std::printf("%-12s %-28s %-26s %s\n", step.name.c_str(), step.op.c_str(), step.kernel.c_str(), step.reason.c_str());

  Session session(engine);
  const std::vector<int32_t> tokens = {7, 1, 42, 99, 0}, starts = {0, 2, 5};  // two sequences
  Batch batch;
  batch.token_ids = tokens;
  batch.cumulative_lengths = starts;
  session.run(batch);
  const TensorView own = session.output("layer_norm");
  for (const std::string& stage : stages) {
    const TensorView y = session.output(stage);
    float difference = 0;
    for (int64_t i = 0; i < own.shape.elements(); ++i)
      difference = std::max(difference, std::fabs(y.as<float>()[i] - own.as<float>()[i]));
    std::printf("%s %s: at most %.1e from layer_norm\n", stage.c_str(), y.shape.to_string().c_str(), difference);
    if (!(difference < 1e-5f)) return 1;
  }
  return 0;
} catch (const bertie::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
