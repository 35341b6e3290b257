// GEMM alone, for the shapes of BERT layers: GFLOP/s and the share of the multiply-add peak measured just before each case.
// Arguments: M, N, K, threads; the instruction set is BERTIE_ISA's or the widest. One thread is timed by its CPU time.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/cpu_affinity.h"
#include "base/float16.h"
#include "cpu/gemm.h"
#include "cpu/isa.h"
#include "cpu/peak.h"

namespace {

using namespace bertie;
using namespace bertie::cpu;

std::vector<float> random_floats(int64_t count) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

// Weights of several layers, taken in turn, are more than the caches hold: as in a forward pass.
void gemm(benchmark::State& state, Activation activation, bool packed, DType dtype = DType::f32) {
  const int64_t rows = state.range(0), columns = state.range(1), k = state.range(2);
  const int threads = static_cast<int>(state.range(3));
  const Isa& isa = active_isa();
  ThreadPool pool(threads);
  const double peak = measure_flops(isa, pool);
  const int64_t layers = std::clamp<int64_t>((int64_t{40} << 20) / (columns * k * 4), 1, 24);
  const std::vector<float> a = random_floats(rows * k), w = random_floats(columns * k), bias = random_floats(columns);
  std::vector<float> c(static_cast<size_t>(rows * columns));
  std::vector<uint16_t> halves(dtype == DType::f32 ? 0 : w.size());
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = dtype == DType::f16 ? float_to_f16(w[i]) : float_to_bf16(w[i]);
  const void* const data = dtype == DType::f32 ? static_cast<const void*>(w.data()) : halves.data();
  const Tensor tensor{dtype, {columns, k}, std::shared_ptr<const void>(std::shared_ptr<void>(), data)};
  std::vector<std::unique_ptr<PackedWeight>> weights;
  for (int64_t layer = 0; layer < (packed ? layers : 0); ++layer)
    weights.push_back(std::make_unique<PackedWeight>(*isa.kernels, tensor, pool));
  std::vector<std::byte> scratch(gemm_scratch_bytes(*isa.kernels, {}, threads) + 64);
  void* aligned = scratch.data();
  size_t space = scratch.size();
  std::align(64, space - 64, aligned, space);
  size_t turn = 0;
  for (auto _ : state) {
    const GemmProblem problem = {
        a.data(), k,       gemm_weight(tensor), packed ? weights[turn++ % weights.size()]->panels() : nullptr,
        c.data(), columns, bias.data(),         activation,
        nullptr,  0};
    run_gemm(*isa.kernels, problem, rows, pool, {static_cast<std::byte*>(aligned), scratch.size() - 64});
    benchmark::DoNotOptimize(c.data());
  }
  const double flops = 2.0 * static_cast<double>(rows * columns * k);
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["peak_share"] = benchmark::Counter(flops / peak, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["weight_GB/s"] =
      benchmark::Counter(static_cast<double>(columns * k) * static_cast<double>(dtype_size(dtype)) * 1e-9,
                         benchmark::Counter::kIsIterationInvariantRate);
}

constexpr std::pair<int64_t, int64_t> kShapes[] = {  // N, K
    {384, 384},  {1152, 384}, {1536, 384},  {384, 1536},  {768, 768},  {2304, 768},
    {3072, 768}, {768, 3072}, {1024, 1024}, {4096, 1024}, {1024, 4096}};

void register_all() {
  for (int threads = 1; threads <= usable_cpus(); threads *= 2) {
    for (const auto& [columns, k] : kShapes) {
      for (const int64_t rows : {1, 4, 8, 16, 32, 128, 384, 1024}) {
        auto* bench =
            benchmark::RegisterBenchmark("linear", [](benchmark::State& state) { gemm(state, Activation::none, true); });
        bench->Args({rows, columns, k, threads});
        if (threads > 1) bench->UseRealTime();
      }
    }
  }
  for (const auto& [name, dtype] : {std::pair{"linear_f16", DType::f16}, std::pair{"linear_bf16", DType::bf16}}) {
    for (const auto& [columns, k] : kShapes) {
      for (const int64_t rows : {1, 8, 16, 128, 1024})
        benchmark::RegisterBenchmark(name, [dtype = dtype](benchmark::State& state) {
          gemm(state, Activation::none, true, dtype);
        })->Args({rows, columns, k, 1});
    }
  }
  for (const Activation activation : {Activation::gelu, Activation::gelu_tanh})
    benchmark::RegisterBenchmark(activation == Activation::gelu ? "linear_gelu" : "linear_gelu_tanh",
                                 [activation](benchmark::State& state) { gemm(state, activation, true); })
        ->Args({1024, 1536, 384, 1})
        ->Args({1024, 3072, 768, 1});
  for (const int64_t rows : {1, 8, 64})
    benchmark::RegisterBenchmark("linear_packed_on_the_fly", [](benchmark::State& state) {
      gemm(state, Activation::none, false);
    })->Args({rows, 30522, 384, 1});
}

}  // namespace

int main(int argc, char** argv) try {
  register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("instruction set", std::string(bertie::cpu::active_isa().name));
  benchmark::RunSpecifiedBenchmarks();
} catch (const bertie::Error& error) {
  std::fprintf(stderr, "gemm_bench: %s\n", error.what());
  return 1;
}
