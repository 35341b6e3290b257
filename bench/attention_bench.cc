// Attention over packed q, k, v: GFLOP/s (both products, two operations a multiply-add) and the share of the multiply-add peak of one
// thread, measured by CPU time just before and after each case; then the same in eight bits. Arguments: sequence length, head dim, heads,
// sequences.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "bench/kernel_runner.h"

namespace {

using namespace bertie;

void attend(benchmark::State& state, const std::string& precision) {
  const int64_t length = state.range(0), head_dim = state.range(1), heads = state.range(2), sequences = state.range(3);
  Network network;
  const ValueId qkv = network.add_input("qkv", DType::f32, {"tokens", Dim(3 * heads * head_dim)});
  network.add_node("attention", {qkv},
                   {{"heads", heads}, {"scale", 0.125}, {"packed_qkv", int64_t{1}}, {"precision", precision}});
  bench::KernelRunner runner(network, std::vector<int64_t>(static_cast<size_t>(sequences), length));
  const double before = bench::peak_flops();
  for (auto _ : state) runner.run();
  const double peak = (before + bench::peak_flops()) / 2;
  const double flops = 4.0 * static_cast<double>(sequences * heads * length * length * head_dim);
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["peak_share"] = benchmark::Counter(flops / peak, benchmark::Counter::kIsIterationInvariantRate);
}

void attention(benchmark::State& state) { attend(state, "fp32"); }
void int8_attention(benchmark::State& state) { attend(state, "int8"); }

void cases(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgsProduct({{16, 128, 384, 512}, {32, 64}, {12}, {8}})
      ->Args({1024, 64, 12, 1})
      ->Args({128, 80, 12, 8})
      ->Args({35, 32, 12, 32})
      ->Args({35, 32, 12, 4})
      ->Args({128, 32, 12, 1})
      ->Args({128, 64, 12, 1});
}

}  // namespace

BENCHMARK(attention)->Apply(cases);
BENCHMARK(int8_attention)->Apply(cases);

BENCHMARK_MAIN();
