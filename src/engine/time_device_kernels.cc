#include "engine/time_device_kernels.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/float16.h"
#include "bertie/base.h"
#include "engine/timed_batch.h"

namespace bertie {
namespace {

constexpr int64_t kTokenCounts[] = {16, 128, 512, 2048, 8192};
constexpr int kRounds = 6;
constexpr size_t kCacheBytes = size_t{128} << 20;  // filled between runs: weights come from memory, as in a whole network
constexpr const char* kPurpose = "timing kernels";

struct Counts {
  int32_t tokens, sequences, rows, overflow;
};

// A step's operands in the device's memory, for one token count.
class DeviceBench {
 public:
  DeviceBench(const std::shared_ptr<Device>& device, Stream& stream, int64_t tokens)
      : device_(device), stream_(stream), timed_(tokens), batch_(timed_.packed) {
    batch_.cumulative_lengths =
        reinterpret_cast<const int32_t*>(put(timed_.starts.data(), timed_.starts.size() * sizeof(int32_t)));
    const Counts counts{static_cast<int32_t>(batch_.tokens), static_cast<int32_t>(batch_.sequences),
                        static_cast<int32_t>(batch_.rows), std::numeric_limits<int32_t>::max()};
    counts_ = reinterpret_cast<Counts*>(put(&counts, sizeof(counts)));
  }

  // Whether the step can be run.
  bool make_operands(const Network& network, const Node& node, std::span<const DType> stored) {
    for (ValueId input : node.inputs) {
      TensorView view;
      if (input != kNone) {
        const Value& value = network.value(input);
        const DType dtype = stored[static_cast<size_t>(input)];
        const std::optional<Shape> shape = timed_.shape_of(value.shape);
        if (!shape) return false;
        view = {nullptr, dtype, *shape};
        if (!value.constant) {
          if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16 && dtype != DType::i8) return false;
          view.data = random(view.shape.elements(), dtype);
        }
      }
      inputs_.push_back(view);
    }
    for (ValueId output : node.outputs) {
      const Value& value = network.value(output);
      const std::optional<Shape> shape = timed_.shape_of(value.shape);
      if (!shape) return false;
      outputs_.push_back({nullptr, value.dtype, *shape});
    }
    return true;
  }

  void make_outputs_and_workspace(std::span<const NamedKernel> kernels) {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      outputs_[i].dtype = kernels.front().kernel->stored(i, outputs_[i].dtype);
      outputs_[i].data = memory_.emplace_back(device_, TensorView(outputs_[i]).bytes(), kPurpose).data();
    }
    size_t bytes = 0;
    for (const NamedKernel& kernel : kernels) bytes = std::max(bytes, kernel.kernel->workspace_bytes(timed_.limits(), 1));
    workspace_ = {memory_.emplace_back(device_, bytes, kPurpose).data(), bytes};
  }

  void run(const Kernel& kernel, ThreadPool& pool) {
    const DeviceBatch device{
        stream_, &counts_->tokens, &counts_->sequences, &counts_->rows, nullptr, 0, nullptr, &counts_->overflow, 0};
    kernel.run({inputs_, outputs_, batch_, workspace_, pool, &device});
  }

 private:
  std::byte* put(const void* from, size_t bytes) {
    const DeviceBuffer staged(device_, bytes, kPurpose, true);
    std::memcpy(staged.data(), from, bytes);
    const DeviceBuffer& own = memory_.emplace_back(device_, bytes, kPurpose);
    stream_.copy(own.data(), staged.data(), bytes);
    stream_.synchronize();
    return own.data();
  }
  const std::byte* random(int64_t count, DType dtype) {
    std::vector<float> floats(static_cast<size_t>(count));
    fill_random(floats, 1);
    if (dtype == DType::f32) return put(floats.data(), floats.size() * sizeof(float));
    if (dtype == DType::i8) {
      std::vector<int8_t> integers;
      for (const float value : floats) integers.push_back(static_cast<int8_t>(std::clamp(value * 127, -127.0f, 127.0f)));
      return put(integers.data(), integers.size());
    }
    std::vector<uint16_t> halves;
    for (const float value : floats) halves.push_back(dtype == DType::f16 ? float_to_f16(value) : float_to_bf16(value));
    return put(halves.data(), halves.size() * sizeof(uint16_t));
  }

  std::shared_ptr<Device> device_;
  Stream& stream_;
  TimedBatch timed_;
  PackedBatch batch_;  // as timed_, its lengths in the device's memory
  Counts* counts_ = nullptr;
  std::vector<DeviceBuffer> memory_;
  std::vector<TensorView> inputs_;
  std::vector<MutableTensorView> outputs_;
  std::span<std::byte> workspace_;
};

}  // namespace

std::optional<KernelTimes> time_device_kernels(const Network& network, const Node& node, std::span<const NamedKernel> kernels,
                                               std::span<const DType> stored, const std::shared_ptr<Device>& device,
                                               ThreadPool& pool) {
  if (std::any_of(kernels.begin(), kernels.end(), [](const NamedKernel& own) { return own.kernel->query_block() > 0; }))
    return std::nullopt;
  try {
    const auto stream = device->make_stream();
    const auto timeline = stream->make_timeline(2 * kernels.size());
    const DeviceBuffer cache(device, kCacheBytes, kPurpose);
    KernelTimes times;
    for (const int64_t tokens : kTokenCounts) {
      DeviceBench bench(device, *stream, tokens);
      if (!bench.make_operands(network, node, stored)) return std::nullopt;
      bench.make_outputs_and_workspace(kernels);
      std::vector<double> best(kernels.size(), std::numeric_limits<double>::infinity());
      for (int round = 0; round <= kRounds; ++round) {
        for (size_t k = 0; k < kernels.size(); ++k) {
          stream->fill(cache.data(), static_cast<uint8_t>(round), kCacheBytes);
          stream->mark(*timeline, 2 * k);
          bench.run(*kernels[k].kernel, pool);
          stream->mark(*timeline, 2 * k + 1);
        }
        stream->synchronize();
        if (round == 0) continue;  // the first loads code
        for (size_t k = 0; k < kernels.size(); ++k) best[k] = std::min(best[k], timeline->milliseconds(2 * k, 2 * k + 1));
      }
      times.tokens.push_back(tokens);
      for (size_t k = 0; k < kernels.size(); ++k) times.milliseconds[kernels[k].name].push_back(best[k]);
    }
    return times;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
    return std::nullopt;
  }
}

}  // namespace bertie
