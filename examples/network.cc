// A network laid down by hand, run on packed sequences: an embedding, a layer norm and a linear layer.
#include <cstdio>
#include <vector>

#include "bertie/bertie.h"

int main() {
  using bertie::Shape, bertie::Tensor;
  const std::vector<float> table = {1, 0, 0, 1, 2, 2, 3, -1}, ones = {1, 1}, zeros = {0, 0}, weight = {1, 2, 3, 4, 5, 6};
  bertie::Network network;
  const auto ids = network.add_input("input_ids", bertie::DType::i64, {"batch", "sequence"});
  auto x = network.add_embedding(network.add_constant("table", Tensor::from_floats({4, 2}, table)), ids);
  x = network.add_layer_norm(x, network.add_constant("gamma", Tensor::from_floats({2}, ones)),
                             network.add_constant("beta", Tensor::from_floats({2}, zeros)), 1e-12);
  x = network.add_linear(x, network.add_constant("weight", Tensor::from_floats({3, 2}, weight)), bertie::kNone);
  network.add_output("y", x);

  bertie::Session session(bertie::Engine::build(network));
  const std::vector<int32_t> tokens = {0, 1, 3}, starts = {0, 2, 3};  // two sequences: {0, 1} and {3}
  bertie::Batch batch;
  batch.token_ids = tokens;
  batch.cumulative_lengths = starts;
  session.run(batch);
  const bertie::TensorView y = session.output("y");
  std::printf("y %s\n", y.shape.to_string().c_str());
  for (int64_t row = 0; row < y.shape[0]; ++row) {
    std::printf("%6.2f %6.2f %6.2f\n", y.as<float>()[3 * row], y.as<float>()[3 * row + 1], y.as<float>()[3 * row + 2]);
  }
}
