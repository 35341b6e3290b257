// Ops that are bound by memory: GB/s (each operand read once, each result written once). Arguments: rows, row width.
// Rows of 4096 x 768 and more lie beyond the second-level cache.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "bench/kernel_runner.h"

namespace {

using namespace bertie;

void count_bytes(benchmark::State& state, int64_t tensors) {
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(tensors * state.range(0) * state.range(1)) * 4e-9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}

Network network_of(const std::string& op, int64_t width, int inputs, bool affine, Attributes attributes) {
  Network network;
  std::vector<ValueId> values;
  for (int i = 0; i < inputs; ++i) values.push_back(network.add_input("x", DType::f32, {"tokens", Dim(width)}));
  for (int i = 0; affine && i < 2; ++i) {
    values.push_back(
        network.add_constant("affine", Tensor::from_floats({width}, std::vector<float>(static_cast<size_t>(width), 1.0f))));
  }
  network.add_node(op, values, std::move(attributes));
  return network;
}

void run(benchmark::State& state, const Network& network, int64_t tensors) {
  bench::KernelRunner runner(network, {state.range(0)});
  for (auto _ : state) runner.run();
  count_bytes(state, tensors);
}

void layer_norm(benchmark::State& state) {
  run(state, network_of("layer_norm", state.range(1), 1, true, {{"epsilon", 1e-12}}), 2);
}
void skip_layer_norm(benchmark::State& state) {
  run(state, network_of("skip_layer_norm", state.range(1), 2, true, {{"epsilon", 1e-12}}), 3);
}
void gelu(benchmark::State& state) { run(state, network_of("gelu", state.range(1), 1, false, {}), 2); }
void gelu_tanh(benchmark::State& state) {
  run(state, network_of("gelu", state.range(1), 1, false, {{"approximate", std::string("tanh")}}), 2);
}
void add(benchmark::State& state) {
  run(state, network_of("elementwise", state.range(1), 2, false, {{"function", std::string("add")}}), 3);
}

void copy(benchmark::State& state) {  // what memory gives
  std::vector<float> from(static_cast<size_t>(state.range(0) * state.range(1)), 1.0f), to = from;
  for (auto _ : state) {
    std::copy(from.begin(), from.end(), to.begin());
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  count_bytes(state, 2);
}

}  // namespace

#define ROW_OP(function) BENCHMARK(function)->Args({128, 384})->Args({128, 768})->Args({4096, 768})->Args({16384, 1024})
ROW_OP(copy);
ROW_OP(layer_norm);
ROW_OP(skip_layer_norm);
ROW_OP(gelu);
ROW_OP(gelu_tanh);
ROW_OP(add);

BENCHMARK_MAIN();
