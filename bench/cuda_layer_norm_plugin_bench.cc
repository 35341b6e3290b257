// The stages of examples/layer_norm_plugin on a GPU, bertie's own layer_norm and a plain copy: time by events, and the share of the bandwidth that
// a large copy reaches.
//   cuda_layer_norm_plugin_bench layer_norm_plugin.so
// Medians over rounds in which all take turns. Bytes: x read once and y written once, whatever the kernel does.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/plugin_kernels.h"
#include "bertie/plugin.h"
#include "cuda/backend.h"

namespace {

using namespace bertie;

struct Contender {
  std::string name;
  double bytes = 0;
  std::function<void()> enqueue;
  std::vector<double> milliseconds = {};
  double median() {
    std::nth_element(milliseconds.begin(), milliseconds.begin() + static_cast<std::ptrdiff_t>(milliseconds.size() / 2),
                     milliseconds.end());
    return milliseconds[milliseconds.size() / 2];
  }
};

// One shape's memory, and the steps over it.
class Shapes {
 public:
  Shapes(std::shared_ptr<Device> device, Stream& stream, int64_t rows, int64_t width)
      : device_(std::move(device)), stream_(stream), rows_(rows), width_(width) {
    const size_t bytes = static_cast<size_t>(rows * width) * sizeof(float);
    x_ = DeviceBuffer(device_, bytes, "a benchmark");
    y_ = DeviceBuffer(device_, bytes, "a benchmark");
    workspace_ = DeviceBuffer(device_, static_cast<size_t>(rows) * 16 + (size_t{1} << 20), "a benchmark");
    counts_ = DeviceBuffer(device_, 256, "a benchmark");
    // Halves of these bits are numbers too.
    const DeviceBuffer pinned(device_, bytes, "a benchmark", true);
    auto* values = reinterpret_cast<float*>(pinned.data());
    for (int64_t i = 0; i < rows * width; ++i) values[i] = static_cast<float>(i * 7919 % 1013) / 500 - 1;
    stream.copy(x_.data(), pinned.data(), bytes);
    stream.synchronize();
    const int32_t counts[] = {static_cast<int32_t>(rows), 1, static_cast<int32_t>(rows), INT32_MAX};
    std::copy(std::begin(counts), std::end(counts), reinterpret_cast<int32_t*>(pinned.data()));
    stream.copy(counts_.data(), pinned.data(), sizeof(counts));
    stream.synchronize();
  }

  Contender copy() {
    const size_t bytes = static_cast<size_t>(rows_ * width_) * sizeof(float);
    return {"copy", 2.0 * static_cast<double>(bytes), [this, bytes] { stream_.copy(y_.data(), x_.data(), bytes); }};
  }

  Contender step(const Backend& backend, const std::string& name, const std::string& op, DType dtype, Attributes attributes) {
    auto step = std::make_shared<Step>();
    const auto constant = [&](float value) {
      return step->network.add_constant("c",
                                        Tensor::from_floats({width_}, std::vector<float>(static_cast<size_t>(width_), value)));
    };
    const ValueId x = step->network.add_input("x", dtype, {Dim("tokens"), Dim(width_)});
    const ValueId y = step->network.add_node(op, {x, constant(1.1f), constant(0.2f)}, std::move(attributes))[0];
    std::vector<DType> stored;
    for (size_t i = 0; i < step->network.value_count(); ++i) stored.push_back(step->network.value(static_cast<ValueId>(i)).dtype);
    const Node& node = step->network.node(step->network.value(y).producer);
    for (const KernelEntry& entry : backend.kernels()) {
      if (entry.op != op) continue;
      PrepareResult result = entry.prepare({step->network, node, pool_, {}, false, device_, stored});
      if (auto* taken = std::get_if<Preparation>(&result)) {
        step->kernel = std::move(taken->kernel);
        break;
      }
    }
    if (!step->kernel) throw std::runtime_error("no kernel takes " + name);
    const DType kept = step->kernel->stored(0, step->network.value(y).dtype);
    return {name, 2.0 * static_cast<double>(rows_ * width_) * static_cast<double>(dtype_size(dtype)), [this, step, dtype, kept] {
              const TensorView inputs[] = {
                  {x_.data(), dtype, {rows_, width_}}, {nullptr, DType::f32, {width_}}, {nullptr, DType::f32, {width_}}};
              const MutableTensorView outputs[] = {{y_.data(), kept, {rows_, width_}}};
              PackedBatch batch;
              batch.tokens = batch.rows = rows_;
              batch.sequences = 1;
              auto* counts = reinterpret_cast<int32_t*>(counts_.data());
              const DeviceBatch device{stream_, counts, counts + 1, counts + 2, nullptr, 0, nullptr, counts + 3, 0};
              step->kernel->run({inputs, outputs, batch, {workspace_.data(), workspace_.bytes()}, pool_, &device});
            }};
  }

 private:
  struct Step {
    Network network;
    std::unique_ptr<Kernel> kernel;
  };
  std::shared_ptr<Device> device_;
  Stream& stream_;
  int64_t rows_, width_;
  ThreadPool pool_{1};
  DeviceBuffer x_, y_, workspace_, counts_;
};

void measure(const std::shared_ptr<Device>& device, double bandwidth, int64_t rows, int64_t width) {
  constexpr int kRounds = 60, kTogether = 4;
  const auto stream = device->make_stream();
  Shapes shapes(device, *stream, rows, width);
  std::vector<Contender> contenders;
  contenders.push_back(shapes.copy());
  const auto stage = [](int64_t number) { return Attributes{{"epsilon", 1e-12}, {"stage", number}}; };
  const char* const kOp = "bertie.examples::LayerNorm";
  contenders.push_back(shapes.step(plugin_cuda_backend(), "stage 1: several kernels", kOp, DType::f32, stage(1)));
  contenders.push_back(shapes.step(plugin_cuda_backend(), "stage 2: one kernel", kOp, DType::f32, stage(2)));
  contenders.push_back(shapes.step(plugin_cuda_backend(), "stage 3: in registers", kOp, DType::f32, stage(3)));
  contenders.push_back(shapes.step(plugin_cuda_backend(), "stage 3, f16 in and out", kOp, DType::f16, stage(3)));
  contenders.push_back(shapes.step(cuda_backend(), "bertie's layer_norm", "layer_norm", DType::f32, {{"epsilon", 1e-12}}));
  const auto timeline = stream->make_timeline(2 * contenders.size());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < contenders.size(); ++i) {
      stream->mark(*timeline, 2 * i);
      for (int repeat = 0; repeat < kTogether; ++repeat) contenders[i].enqueue();
      stream->mark(*timeline, 2 * i + 1);
    }
    stream->synchronize();
    for (size_t i = 0; i < contenders.size() && round > 4; ++i)
      contenders[i].milliseconds.push_back(timeline->milliseconds(2 * i, 2 * i + 1) / kTogether);
  }
  fmt::print("{} x {}, of {:.0f} GB/s\n", rows, width, bandwidth / 1e9);
  for (Contender& contender : contenders) {
    const double milliseconds = contender.median(), rate = contender.bytes / milliseconds * 1e3;
    fmt::print("  {:<26} {:8.4f} ms  {:6.0f} GB/s  {:4.0f}%\n", contender.name, milliseconds, rate / 1e9, 100 * rate / bandwidth);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    fmt::print(stderr, "usage: {} layer_norm_plugin.so\n", argv[0]);
    return 2;
  }
  load_plugin(argv[1]);
  const std::shared_ptr<Device> device = cuda_backend().open("cuda");
  const double bandwidth = measure_cuda_peaks(*device).bandwidth;
  fmt::print("{}\n", device->description());
  measure(device, bandwidth, 65536, 1024);
  measure(device, bandwidth, 65536, 384);
  measure(device, bandwidth, 128, 768);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
