// Linear kernels of the cuda backend beside cuBLASLt's, at the shapes of BERT-base and BERT-large: microseconds a product, medians of interleaved turns, each a
// graph of several on random numbers, each with weights that the L2 does not hold, as those of a network. "activation" is cuBLASLt and GELU as a kernel of its own; "i8" is wgmma_linear on eight-bit integers, its result in f16.
// Then those in eight bits of few tokens, results of GELU in eight bits too. Then linear layers with the residual and layer norm behind them: as two kernels, as linear_layer_norm, and where tiles are few as split_linear and a layer norm of parts. An argument names one of the tables: linear, few-eight-bits, layer-norms.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <random>
#include <vector>

#include "bertie/base.h"
#include "cuda/backend.h"
#include "cuda/cuda_device.h"
#include "cuda/hopper_linear.h"
#include "cuda/kernels/linear_layer_norm.h"
#include "cuda/kernels/wgmma_linear.h"

namespace {

using namespace bertie;
using cuda::Activation;
using cuda::CudaDevice;
using cuda::Element;

constexpr size_t kWorkspace = size_t{32} << 20, kWeights = size_t{256} << 20;
constexpr int kTurns = 7;
constexpr const char* kPurpose = "a benchmark";

struct Shape2 {
  int64_t columns, depth;
  Activation activation;
};
constexpr Shape2 kShapes[] = {{2304, 768, Activation::none},  {768, 768, Activation::none},   {3072, 768, Activation::gelu},
                              {768, 3072, Activation::none},  {3072, 1024, Activation::none}, {1024, 1024, Activation::none},
                              {4096, 1024, Activation::gelu}, {1024, 4096, Activation::none}};

constexpr cuda::ClusterLinearTile kClusters[] = {{64, 64, 1}, {64, 64, 2}, {64, 64, 4}, {128, 64, 1}, {128, 128, 1}};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Of each work, in turns.
std::vector<double> microseconds(Stream& stream, const std::vector<std::function<void()>>& works, int count) {
  std::vector<std::unique_ptr<DeviceGraph>> graphs;
  for (const auto& work : works) {
    work();  // what is made when it is first wanted
    stream.begin_capture();
    for (int i = 0; i < count; ++i) work();
    graphs.push_back(stream.end_capture());
  }
  std::vector<std::vector<double>> times(works.size());
  const auto timeline = stream.make_timeline(2);
  for (int turn = 0; turn < kTurns; ++turn) {
    for (size_t i = 0; i < works.size(); ++i) {
      stream.launch(*graphs[i]);
      stream.mark(*timeline, 0);
      stream.launch(*graphs[i]);
      stream.mark(*timeline, 1);
      stream.synchronize();
      times[i].push_back(timeline->milliseconds(0, 1) * 1e3 / count);
    }
  }
  std::vector<double> result;
  for (auto& own : times) result.push_back(median(std::move(own)));
  return result;
}

constexpr int64_t kMostRows = 49152, kDeepest = 4096;

struct Bench {
  Bench() {
    for (const DeviceBuffer* own : {&x, &weights, &residual}) {
      for (size_t at = 0; at < own->bytes(); at += numbers->bytes())
        stream->copy(own->data() + at, numbers->data(), std::min(numbers->bytes(), own->bytes() - at));
    }
  }

  const std::byte* next_weight(int64_t bytes) {
    if (weights_at + static_cast<size_t>(bytes) > kWeights) weights_at = 0;
    weights_at += static_cast<size_t>(bytes);
    return weights.data() + weights_at - bytes;
  }
  const float* floats() const { return reinterpret_cast<const float*>(bias->data()); }

  static std::vector<float> random_floats() {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(size_t{1} << 22);
    for (float& value : values) value = normal(random);
    return values;
  }
  static constexpr size_t bytes_of(int64_t width) { return static_cast<size_t>(kMostRows * width) * 2; }

  std::shared_ptr<CudaDevice> device = std::static_pointer_cast<CudaDevice>(cuda_backend().open("cuda"));
  std::unique_ptr<Stream> stream = device->make_stream();
  DeviceBuffer x{device, bytes_of(kDeepest), kPurpose}, y{device, bytes_of(kDeepest), kPurpose},
      residual{device, bytes_of(1024), kPurpose}, values{device, bytes_of(1024), kPurpose},
      product{device, bytes_of(1024), kPurpose}, workspace{device, kWorkspace, kPurpose}, weights{device, kWeights, kPurpose};
  Tensor random = Tensor::from_floats({int64_t{1} << 22}, random_floats());
  std::shared_ptr<const DeviceBuffer> numbers = device->upload(random, DType::f16), bias = device->upload(random, DType::f32);
  size_t weights_at = 0;
};

void run_linear(Bench& bench) {
  CudaDevice* const device = bench.device.get();
  Stream* const stream = bench.stream.get();
  const DeviceBuffer &x = bench.x, &y = bench.y, &workspace = bench.workspace, &numbers = *bench.numbers;
  const auto next_weight = [&](const Shape2& shape) { return bench.next_weight(shape.columns * shape.depth * 2); };
  const auto linear = device->launcher<cuda::WgmmaLinearParams>("wgmma_linear");
  const auto clusters = device->launcher<cuda::ClusterLinearParams>("cluster_linear");
  const auto activation = device->launcher<cuda::ActivationParams>("activation");
  fmt::print(
      "f16 on {}\n{:>24} {:>9} {:>10} {:>9}   by tile: 32 64 128 192 256; cluster_linear: 64x64 by 1, 2, 4, 128x64, 128x128\n",
      device->description(), "rows x columns x depth", "cuBLASLt", "activation", "wgmma");
  for (const int64_t rows : {16, 128, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 16384, 49152}) {
    for (const Shape2& shape : kShapes) {
      BertieCudaProduct product{};
      product.element = product.result = BERTIE_CUDA_F16;
      product.transposed = product.has_bias = product.batch = 1;
      product.m = rows;
      product.n = shape.columns;
      product.k = shape.depth;
      BertieCudaOperands operands{};
      operands.a = x.data();
      operands.bias = numbers.data();
      operands.d = y.data();
      operands.workspace = workspace.data();
      operands.workspace_bytes = kWorkspace;
      const auto multiply = [&] {
        operands.b = next_weight(shape);
        device->check(device->api().run_product(device->index(), &product, &operands, stream->handle()), "a product");
      };
      const auto activate = [&] {
        multiply();
        cuda::ActivationParams params{};
        params.x = params.y = y.data();
        params.x_element = params.y_element = Element::f16;
        params.function = shape.activation;
        params.rows = rows;
        params.width = shape.columns;
        device->launch(activation, params, *stream);
      };
      const auto launch_linear = [&](const auto& launcher, auto params) {
        params.x = x.data();
        params.weight = next_weight(shape);
        params.bias = bench.floats();
        params.y = y.data();
        params.element = Element::f16;
        params.activation = shape.activation;
        params.rows = rows;
        params.columns = shape.columns;
        params.depth = shape.depth;
        device->launch(launcher, params, *stream);
      };
      const auto tile = [&](int32_t columns) {
        return [&, columns] {
          cuda::WgmmaLinearParams params{};
          params.tile_columns = columns;
          launch_linear(linear, params);
        };
      };
      const auto integers = [&] {
        cuda::WgmmaLinearParams params{};
        params.operands = cuda::LinearOperands::int8;
        params.x_scale = params.w_scale = bench.floats();
        launch_linear(linear, params);
      };
      const auto cluster = [&](cuda::ClusterLinearTile own_tile) {
        return [&, own_tile] {
          cuda::ClusterLinearParams params{};
          params.tile = own_tile;
          launch_linear(clusters, params);
        };
      };
      std::vector<std::function<void()>> works = {multiply, activate,  tile(0),   integers, tile(32),
                                                  tile(64), tile(128), tile(192), tile(256)};
      for (const auto& own_tile : kClusters) {
        if (rows <= 1024) works.push_back(cluster(own_tile));
      }
      const std::vector<double> times = microseconds(*stream, works, rows < 16384 ? 20 : 4);
      fmt::print("{:>24} {:>9.2f} {:>10.2f} {:>9.2f} {:>9.2f}  ", fmt::format("{} x {} x {}", rows, shape.columns, shape.depth),
                 times[0], shape.activation == Activation::none ? 0.0 : times[1], times[2], times[3]);
      for (size_t i = 4; i < times.size(); ++i) fmt::print("{} {:.2f}", i == 9 ? ";" : "", times[i]);
      fmt::print("\n");
    }
  }
}

void run_few_eight_bits(Bench& bench) {
  const auto linear = bench.device->launcher<cuda::WgmmaLinearParams>("wgmma_linear");
  const auto clusters = bench.device->launcher<cuda::ClusterLinearParams>("cluster_linear");
  fmt::print("eight bits\n{:>29} {:>9}   cluster_linear: 64x64 by 1, 2, 4, 128x64, 128x128\n", "rows x columns x depth", "wgmma");
  for (const auto operands : {cuda::LinearOperands::fp8, cuda::LinearOperands::int8}) {
    const bool fp8 = operands == cuda::LinearOperands::fp8;
    for (const int64_t rows : {16, 128, 256, 384, 512, 1024}) {
      for (const Shape2& shape : kShapes) {
        const auto launch = [&](const auto& launcher, auto params) {
          params.x = bench.x.data();
          params.weight = bench.next_weight(shape.columns * shape.depth);
          params.bias = params.x_scale = params.w_scale = bench.floats();
          params.y = bench.y.data();
          params.operands = operands;
          params.element = Element::f16;
          params.one_scale = 1;
          if (shape.activation == Activation::gelu) {
            params.quantized.values = reinterpret_cast<int8_t*>(bench.y.data());
            params.quantized.e4m3 = fp8;
            params.quantized.quantization = bench.floats();
            params.quantized.inverse = fp8 ? 1.0f : 0.0f;  // as weights alone fix it
          }
          params.activation = shape.activation;
          params.rows = rows;
          params.columns = shape.columns;
          params.depth = shape.depth;
          bench.device->launch(launcher, params, *bench.stream);
        };
        std::vector<std::function<void()>> works = {[&] { launch(linear, cuda::WgmmaLinearParams{}); }};
        for (const auto& tile : kClusters) {
          works.push_back([&] {
            cuda::ClusterLinearParams params{};
            params.tile = tile;
            launch(clusters, params);
          });
        }
        const std::vector<double> times = microseconds(*bench.stream, works, 20);
        fmt::print("{:>4} {:>24} {:>9.2f}  ", fp8 ? "e4m3" : "i8", fmt::format("{} x {} x {}", rows, shape.columns, shape.depth),
                   times[0]);
        for (size_t i = 1; i < times.size(); ++i) fmt::print(" {:.2f}", times[i]);
        fmt::print("\n");
      }
    }
  }
}

void run_layer_norms(Bench& bench) {
  const cuda::HopperLinear linear(*bench.device);
  const auto norm = bench.device->launcher<cuda::AnyLayerNormParams>("warp_layer_norm");
  const auto split = bench.device->launcher<cuda::SplitLinearParams>("split_linear");
  const auto fused = bench.device->launcher<cuda::LinearLayerNormParams>("linear_layer_norm");
  fmt::print(
      "with residual and layer norm; e4m3 and i8: x and weight, and rows of it beside those in f16\n{:>29} {:>9} {:>9} {:>9} "
      "{:>9}\n",
      "rows x columns x depth", "product", "and norm", "fused", "in parts");
  for (const auto operands : {cuda::LinearOperands::elements, cuda::LinearOperands::fp8, cuda::LinearOperands::int8}) {
    const bool eight_bits = operands != cuda::LinearOperands::elements;
    const char* const name = !eight_bits ? "f16" : operands == cuda::LinearOperands::fp8 ? "e4m3" : "i8";
    for (const int64_t columns : {768, 1024}) {
      for (const int64_t depth : {columns, 4 * columns}) {
        for (const int64_t rows : {128, 256, 384, 512, 768, 1024, 2048, 4096, 12288, 16384, 22784, 49152}) {
          cuda::LinearLayerNormParams params{};
          params.x = bench.x.data();
          params.bias = params.gamma = params.beta = params.x_scale = params.w_scale = bench.floats();
          params.residual = bench.residual.data();
          params.y = bench.y.data();
          params.operands = operands;
          params.element = Element::f16;
          params.one_scale = 1;
          if (eight_bits) {
            params.quantized.values = reinterpret_cast<int8_t*>(bench.values.data());
            params.quantized.e4m3 = operands == cuda::LinearOperands::fp8;
            params.quantized.quantization = bench.floats();
            params.quantized.inverse = params.quantized.e4m3 ? 1.0f : 0.0f;  // as weights alone fix it
          }
          params.epsilon = 1e-12f;
          params.rows = rows;
          params.columns = columns;
          params.depth = depth;
          params.mailboxes = bench.stream->mailboxes();
          const auto next_weight = [&] { return bench.next_weight(columns * depth * (eight_bits ? 1 : 2)); };
          const auto multiply = [&] {
            params.weight = next_weight();
            linear.launch(cuda::linear_of(params, bench.product.data()), *bench.stream);
          };
          const auto apart = [&] {
            multiply();
            bench.device->launch(norm, cuda::layer_norm_of(params, bench.product.data()), *bench.stream);
          };
          const auto together = [&] {
            params.weight = next_weight();
            bench.device->launch(fused, params, *bench.stream);
          };
          std::vector<std::function<void()>> works = {multiply, apart, together};
          const cuda::SplitLinearTile tile =
              cuda::split_linear_tile(rows, columns, depth, bench.device->properties().multiprocessors);
          if (!eight_bits && tile.parts > 0) {
            works.push_back([&] {
              params.weight = next_weight();
              bench.device->launch(split, cuda::split_linear_of(params, bench.product.data(), tile), *bench.stream);
              bench.device->launch(norm, cuda::layer_norm_of(params, bench.product.data(), tile.parts), *bench.stream);
            });
          }
          const std::vector<double> times = microseconds(*bench.stream, works, rows < 16384 ? 20 : 6);
          fmt::print("{:>4} {:>24} ", name, fmt::format("{} x {} x {}", rows, columns, depth));
          for (const double time : times) fmt::print("{:>9.2f} ", time);
          fmt::print("\n");
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    constexpr std::pair<std::string_view, void (*)(Bench&)> kTables[] = {
        {"linear", run_linear}, {"few-eight-bits", run_few_eight_bits}, {"layer-norms", run_layer_norms}};
    const std::string_view wanted = argc > 1 ? argv[1] : "";
    Bench bench;
    bool known = wanted.empty();
    for (const auto& [name, run] : kTables) {
      if (!wanted.empty() && wanted != name) continue;
      known = true;
      run(bench);
    }
    if (!known) throw Error(ErrorCode::invalid_argument, "usage: cuda_linear_bench [linear | few-eight-bits | layer-norms]");
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
