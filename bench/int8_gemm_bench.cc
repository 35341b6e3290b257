// Eight-bit GEMM alone, for the shapes of BERT layers: operations a second and the share of the peak measured just before each case.
// Arguments: M, N, K, threads; the instruction set is BERTIE_ISA's or the widest. One thread is timed by its CPU time.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/cpu_affinity.h"
#include "base/error.h"
#include "base/panels.h"
#include "cpu/int8_gemm.h"
#include "cpu/isa.h"
#include "cpu/peak.h"

namespace {

using namespace bertie;
using namespace bertie::cpu;

std::vector<int8_t> random_bytes(int64_t count) {
  std::mt19937 generator(7);
  std::vector<int8_t> values(static_cast<size_t>(count));
  for (int8_t& value : values) value = static_cast<int8_t>(static_cast<int>(generator() % 255) - 127);
  return values;
}

// Memory in large pages where the system has them, as a session's is.
template <typename T>
class Pages {
 public:
  explicit Pages(int64_t count) : bytes_(static_cast<size_t>(count) * sizeof(T) + 1) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail(ErrorCode::out_of_memory, "{} bytes", bytes_);
    madvise(memory, bytes_, MADV_HUGEPAGE);
    data_ = static_cast<T*>(memory);
    std::memset(memory, 0, bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() { munmap(data_, bytes_); }
  T* data() const { return data_; }

 private:
  size_t bytes_;
  T* data_;
};

// As trained weights lie: most of them well within their row's largest.
std::vector<int8_t> bell_of_bytes(int64_t count) {
  std::mt19937 generator(8);
  std::normal_distribution<float> normal(0.0f, 127 / 4.0f);
  std::vector<int8_t> values(static_cast<size_t>(count));
  for (int8_t& value : values) value = static_cast<int8_t>(std::lround(std::clamp(normal(generator), -127.0f, 127.0f)));
  return values;
}

// Weights of several layers, taken in turn, are more than the caches hold: as in a forward pass.
void int8_gemm(benchmark::State& state, Activation activation, bool quantized) {
  const int64_t rows = state.range(0), columns = state.range(1), k = state.range(2);
  const int threads = static_cast<int>(state.range(3));
  const Isa& isa = active_isa();
  ThreadPool pool(threads);
  const double peak = measure_int8_ops(isa, pool);
  const int64_t layers = std::clamp<int64_t>((int64_t{40} << 20) / (columns * k), 1, 24);
  const auto w = std::make_shared<std::vector<int8_t>>(bell_of_bytes(columns * k));
  const Tensor tensor{DType::i8, Shape{columns, k}, std::shared_ptr<const void>(w, w->data())};
  std::vector<std::unique_ptr<PackedInt8Weight>> weights;
  for (int64_t layer = 0; layer < layers; ++layer)
    weights.push_back(std::make_unique<PackedInt8Weight>(*isa.kernels, tensor, pool));

  const Pages<int8_t> a(rows * k);
  std::ranges::copy(random_bytes(rows * k), a.data());
  const size_t padded = static_cast<size_t>(panel_count(columns) * kPanelWidth);
  const std::vector<float> a_scales(static_cast<size_t>(rows), 0.002f), w_scales(padded, 0.001f), bias(padded, 0.1f);
  const Pages<float> c(quantized ? 0 : rows * columns), scales(rows);
  const Pages<int8_t> values(rows * columns);
  const QuantizeRows quantized_rows = {nullptr, 0, 0, values.data(), scales.data(), nullptr, nullptr};
  const size_t bytes = int8_gemm_workspace(*isa.kernels, rows, columns, k, quantized, threads);
  const Pages<std::byte> workspace(static_cast<int64_t>(bytes));
  size_t turn = 0;
  for (auto _ : state) {
    Int8GemmProblem problem = {};
    problem.a = a.data();
    problem.a_stride = k;
    problem.a_scales = a_scales.data();
    problem.a_scale_stride = 1;
    problem.weight = weights[turn++ % weights.size()]->view();
    problem.w_scales = w_scales.data();
    problem.bias = bias.data();
    problem.activation = activation;
    problem.c = c.data();
    problem.c_stride = columns;
    run_int8_gemm(*isa.kernels, problem, rows, quantized ? &quantized_rows : nullptr, pool, {workspace.data(), bytes});
    benchmark::ClobberMemory();
  }
  const double operations = 2.0 * static_cast<double>(rows * columns * k);
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["GOP/s"] = benchmark::Counter(operations * 1e-9, rate);
  state.counters["peak_share"] = benchmark::Counter(operations / peak, rate);
  state.counters["weight_GB/s"] = benchmark::Counter(static_cast<double>(columns * k) * 1e-9, rate);
}

constexpr std::pair<int64_t, int64_t> kShapes[] = {  // N, K
    {384, 384},  {1152, 384}, {1536, 384},  {384, 1536},  {768, 768},  {2304, 768},
    {3072, 768}, {768, 3072}, {1024, 1024}, {4096, 1024}, {1024, 4096}};

void register_all() {
  for (int threads = 1; threads <= usable_cpus(); threads *= 2) {
    for (const auto& [columns, k] : kShapes) {
      for (const int64_t rows : {1, 4, 16, 32, 128, 384, 1024}) {
        auto* bench = benchmark::RegisterBenchmark("int8_linear",
                                                   [](benchmark::State& state) { int8_gemm(state, Activation::none, false); });
        bench->Args({rows, columns, k, threads});
        if (threads > 1) bench->UseRealTime();
      }
    }
    for (const auto& [columns, k] : {std::pair<int64_t, int64_t>{1536, 384}, {3072, 768}}) {
      for (const int64_t rows : {1, 16, 128, 1024}) {
        auto* bench = benchmark::RegisterBenchmark("int8_linear_gelu_quantized",
                                                   [](benchmark::State& state) { int8_gemm(state, Activation::gelu, true); });
        bench->Args({rows, columns, k, threads});
        if (threads > 1) bench->UseRealTime();
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("instruction set", std::string(bertie::cpu::active_isa().name));
  benchmark::RunSpecifiedBenchmarks();
} catch (const bertie::Error& error) {
  std::fprintf(stderr, "int8_gemm_bench: %s\n", error.what());
  return 1;
}
