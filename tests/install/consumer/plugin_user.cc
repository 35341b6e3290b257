// Runs a network with the op of scale_plugin.cc through the installed library; an error of the plugin's rule comes back as an Error.
//   plugin_user scale.so DEVICE
#include <bertie/bertie.h>

#include <cstdio>
#include <vector>

int main(int argc, char** argv) try {
  using namespace bertie;
  if (argc != 3) return 2;
  load_plugin(argv[1]);
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  const std::vector<float> table = {1, 2, 3, 4, 5, 6};
  const ValueId x = network.add_embedding(network.add_constant("table", Tensor::from_floats({3, 2}, table)), ids);
  network.add_output("y", network.add_node("my.domain::Scale", {x}, {{"factor", 10.0}}, "scale")[0]);
  EngineOptions options;
  options.device = argv[2];
  Session session(Engine::build(network, options));
  const std::vector<int32_t> tokens = {2, 0}, starts = {0, 2};
  Batch batch;
  batch.token_ids = tokens;
  batch.cumulative_lengths = starts;
  session.run(batch);
  const float* y = session.output("y").as<float>();
  std::printf("%s: %g %g %g %g\n", session.engine().steps()[1].kernel.c_str(), y[0], y[1], y[2], y[3]);
  network.add_node("my.domain::Scale", {ids}, {}, "bad");
} catch (const bertie::Error& error) {
  std::printf("%s\n", error.what());
}
