#include "backend/plugin_kernels.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <deque>
#include <mutex>

#include "network/op.h"
#include "network/plugin_node.h"
#include "network/plugin_registry.h"

namespace bertie {
namespace {

constexpr const char* kCpu = "cpu";
constexpr const char* kCuda = "cuda";

BertieDevice cpu_of(const ThreadPool& pool) { return {sizeof(BertieDevice), kCpu, 0, pool.threads(), nullptr}; }

// `name`: "cuda:1".
BertieDevice cuda_of(const std::string& name, void* stream) {
  int32_t index = 0;
  const size_t number = name.find(':') + 1;
  std::from_chars(name.data() + number, name.data() + name.size(), index);
  return {sizeof(BertieDevice), kCuda, index, 1, stream};
}

void parallel_for(void* pool, int64_t tasks, void (*body)(void*, int64_t, int32_t), void* argument) {
  static_cast<ThreadPool*>(pool)->parallel_for(tasks, [&](int64_t task, int worker) { body(argument, task, worker); });
}

class PluginKernel final : public Kernel {
 public:
  PluginKernel(const PluginOp& op, const BertieKernel& kernel, std::string node, void* step)
      : op_(op), kernel_(kernel), node_(std::move(node)), step_(step) {}
  PluginKernel(const PluginKernel&) = delete;
  PluginKernel& operator=(const PluginKernel&) = delete;
  ~PluginKernel() override { kernel_.release(step_); }

  // Constants in the device's memory, for a kernel there: those that it reads.
  void upload_constants(const KernelRequest& request) {
    device_ = request.device;
    const auto stream = device_->make_stream();
    for (size_t i = 0; i < request.node.inputs.size(); ++i) {
      const ValueId id = request.node.inputs[i];
      DeviceBuffer& memory = constants_.emplace_back();
      numbers_.push_back(id != kNone && is_index(request.network.value(id).dtype));
      if (id == kNone || !request.network.value(id).constant) continue;
      if (!kernel_reads(i)) continue;
      const Tensor rows = request.network.value(id).constant->row_major();
      memory = DeviceBuffer(device_, rows.bytes(), "the weights");
      if (rows.bytes() == 0) continue;
      const DeviceBuffer pinned(device_, rows.bytes(), "the weights", true);
      std::memcpy(pinned.data(), rows.data.get(), rows.bytes());
      stream->copy(memory.data(), pinned.data(), rows.bytes());
      stream->synchronize();
    }
  }

  // Unlike bertie's own kernels this may throw: Error(plugin_failed).
  void run(const KernelContext& context) const override {
    std::array<BertieTensor, kMostPluginValues> inputs, outputs;
    for (size_t i = 0; i < context.inputs.size(); ++i) {
      const TensorView& view = context.inputs[i];
      void* data = const_cast<void*>(view.data);
      if (device_ && constants_[i].data()) data = constants_[i].data();
      inputs[i] = {data, view.shape.begin(), static_cast<int32_t>(view.dtype), view.shape.rank()};
    }
    for (size_t i = 0; i < context.outputs.size(); ++i) {
      const MutableTensorView& view = context.outputs[i];
      outputs[i] = {view.data, view.shape.begin(), static_cast<int32_t>(view.dtype), view.shape.rank()};
    }
    const BertieDevice device = device_ ? cuda_of(device_->name(), context.device->stream.handle()) : cpu_of(context.pool);
    const PackedBatch& batch = context.batch;
    const BertieRun run = {.size = sizeof(BertieRun),
                           .device = &device,
                           .input_count = static_cast<int64_t>(context.inputs.size()),
                           .inputs = inputs.data(),
                           .output_count = static_cast<int64_t>(context.outputs.size()),
                           .outputs = outputs.data(),
                           .tokens = batch.tokens,
                           .sequences = batch.sequences,
                           .longest = batch.longest,
                           .rows = batch.rows,
                           .cumulative_lengths = batch.cumulative_lengths,
                           .columns = batch.columns,
                           .workspace = context.workspace.data(),
                           .workspace_bytes = context.workspace.size(),
                           .pool = device_ ? nullptr : &context.pool,
                           .parallel_for = device_ ? nullptr : parallel_for};
    const PluginText text;
    if (kernel_.run(step_, &run, &text.abi()) != BERTIE_OK) fail_plugin(op_, node_, doing(), text.line());
  }

  size_t workspace_bytes(const BatchLimits& limits, int threads) const override {
    if (!kernel_.workspace_bytes) return 0;
    const BertieLimits bounds{sizeof(BertieLimits), limits.tokens, limits.sequences, limits.longest, limits.rows};
    const int64_t bytes = kernel_.workspace_bytes(step_, &bounds, threads);
    if (bytes < 0) fail_plugin(op_, node_, doing(), "it cannot tell its workspace");
    return static_cast<size_t>(bytes);
  }

  // Beside a device, the shape rule reads those of numbers.
  bool reads_constant(size_t index) const override { return device_ ? numbers_[index] : kernel_reads(index); }

  size_t packed_bytes() const override {
    size_t bytes = kernel_.packed_bytes ? static_cast<size_t>(std::max<int64_t>(kernel_.packed_bytes(step_), 0)) : 0;
    for (const DeviceBuffer& constant : constants_) bytes += constant.bytes();
    return bytes;
  }

 private:
  bool kernel_reads(size_t index) const {
    return !kernel_.reads_constant || kernel_.reads_constant(step_, static_cast<int64_t>(index)) != 0;
  }
  std::string doing() const { return fmt::format("kernel {}", kernel_.name); }

  const PluginOp& op_;
  const BertieKernel& kernel_;
  std::string node_;
  void* step_;
  std::shared_ptr<Device> device_;       // nullptr: the CPU
  std::vector<DeviceBuffer> constants_;  // on it; empty where there is none, or none that is read
  std::vector<bool> numbers_;            // which inputs are i32 or i64
};

bool runs_on(const BertieKernel& kernel, std::string_view device) { return kernel.device == device; }

PrepareResult prepare_on(const char* kind, const BertieDevice& device, const KernelRequest& request) {
  const Node& node = request.node;
  const PluginOp& op = *find_plugin_op(node.op);
  const PluginNode seen(request.network, node);
  std::string refusals;
  for (int64_t i = 0; i < op.abi->kernel_count; ++i) {
    const BertieKernel& kernel = *op.abi->kernels[i];
    if (!runs_on(kernel, kind)) continue;
    const PluginText text;
    void* step = nullptr;
    const int32_t status = kernel.prepare(kernel.self, &seen.abi(), &device, &step, &text.abi());
    if (status == BERTIE_REFUSED) {
      refusals += fmt::format("{}{}: {}", refusals.empty() ? "" : "; ", kernel.name, text.line());
      continue;
    }
    if (status != BERTIE_OK || !step) fail_plugin(op, node.name, fmt::format("kernel {}", kernel.name), text.line());
    std::string reason = kernel.name;
    if (text.said()) reason += ": " + text.line();
    if (!refusals.empty()) reason += "; refused: " + refusals;
    auto made = std::make_unique<PluginKernel>(op, kernel, node.name, step);
    if (kind == kCuda) made->upload_constants(request);
    return Preparation{std::move(made), std::move(reason)};
  }
  return Refusal{std::move(refusals)};
}

PrepareResult prepare_on_cpu(const KernelRequest& request) { return prepare_on(kCpu, cpu_of(request.pool), request); }

PrepareResult prepare_on_cuda(const KernelRequest& request) {
  // Its kernels are made for the dtypes that the network says; the engine casts what lies otherwise.
  for (ValueId id : request.node.inputs) {
    if (id != kNone && request.stored[static_cast<size_t>(id)] != request.network.value(id).dtype)
      return Refusal{fmt::format("an input is kept as {}", dtype_name(request.stored[static_cast<size_t>(id)]))};
  }
  return prepare_on(kCuda, cuda_of(request.device->name(), nullptr), request);
}

// The table is made again where ops have come since; older ones stay, since their entries may still be read.
class Entries {
 public:
  Entries(const char* device, PrepareResult (*prepare)(const KernelRequest&)) : device_(device), prepare_(prepare) {}

  std::span<const KernelEntry> get() {
    const auto ops = plugin_ops();
    const std::lock_guard lock(mutex_);
    if (!tables_.empty() && known_ == ops.size()) return tables_.back();
    known_ = ops.size();
    std::vector<KernelEntry> table;
    for (const PluginOp* op : ops) {
      const std::span kernels(op->abi->kernels, static_cast<size_t>(op->abi->kernel_count));
      if (std::none_of(kernels.begin(), kernels.end(), [&](const BertieKernel* kernel) { return runs_on(*kernel, device_); }))
        continue;
      names_.push_back(fmt::format("plugin {}", op->plugin));
      table.push_back({op->descriptor.name, names_.back(), prepare_});
    }
    tables_.push_back(std::move(table));
    return tables_.back();
  }

 private:
  const char* device_;
  PrepareResult (*prepare_)(const KernelRequest&);
  std::mutex mutex_;
  std::deque<std::vector<KernelEntry>> tables_;
  std::deque<std::string> names_;
  size_t known_ = 0;
};

std::span<const KernelEntry> cpu_entries() {
  static Entries entries(kCpu, prepare_on_cpu);
  return entries.get();
}

std::span<const KernelEntry> cuda_entries() {
  static Entries entries(kCuda, prepare_on_cuda);
  return entries.get();
}

}  // namespace

const Backend& plugin_cpu_backend() {
  static constexpr Backend kBackend{kCpu, cpu_entries};
  return kBackend;
}

const Backend& plugin_cuda_backend() {
  static constexpr Backend kBackend{.name = kCuda, .kernels = cuda_entries, .on_device = true};
  return kBackend;
}

}  // namespace bertie
