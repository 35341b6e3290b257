#include "backend/plugin_kernels.h"

#include <algorithm>
#include <array>
#include <deque>
#include <mutex>

#include "network/plugin_node.h"
#include "network/plugin_registry.h"

namespace bertie {
namespace {

constexpr std::string_view kDevice = "cpu";

BertieDevice device_of(const ThreadPool& pool) { return {sizeof(BertieDevice), kDevice.data(), 0, pool.threads(), nullptr}; }

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

  // Unlike bertie's own kernels this may throw: Error(plugin_failed).
  void run(const KernelContext& context) const override {
    std::array<BertieTensor, kMostPluginValues> inputs, outputs;
    for (size_t i = 0; i < context.inputs.size(); ++i) {
      const TensorView& view = context.inputs[i];
      inputs[i] = {const_cast<void*>(view.data), view.shape.begin(), static_cast<int32_t>(view.dtype), view.shape.rank()};
    }
    for (size_t i = 0; i < context.outputs.size(); ++i) {
      const MutableTensorView& view = context.outputs[i];
      outputs[i] = {view.data, view.shape.begin(), static_cast<int32_t>(view.dtype), view.shape.rank()};
    }
    const BertieDevice device = device_of(context.pool);
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
                           .pool = &context.pool,
                           .parallel_for = parallel_for};
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

  bool reads_constant(size_t index) const override {
    return !kernel_.reads_constant || kernel_.reads_constant(step_, static_cast<int64_t>(index)) != 0;
  }

  size_t packed_bytes() const override {
    return kernel_.packed_bytes ? static_cast<size_t>(std::max<int64_t>(kernel_.packed_bytes(step_), 0)) : 0;
  }

 private:
  std::string doing() const { return fmt::format("kernel {}", kernel_.name); }

  const PluginOp& op_;
  const BertieKernel& kernel_;
  std::string node_;
  void* step_;
};

bool runs_here(const BertieKernel& kernel) { return kernel.device == kDevice; }

PrepareResult prepare(const KernelRequest& request) {
  const Node& node = request.node;
  const PluginOp& op = *find_plugin_op(node.op);
  const PluginNode seen(request.network, node);
  const BertieDevice device = device_of(request.pool);
  std::string refusals;
  for (int64_t i = 0; i < op.abi->kernel_count; ++i) {
    const BertieKernel& kernel = *op.abi->kernels[i];
    if (!runs_here(kernel)) continue;
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
    return Preparation{std::make_unique<PluginKernel>(op, kernel, node.name, step), std::move(reason)};
  }
  return Refusal{std::move(refusals)};
}

// The table is made again where ops have come since; older ones stay, since their entries may still be read.
std::span<const KernelEntry> entries() {
  static std::mutex mutex;
  static std::deque<std::vector<KernelEntry>> tables;
  static std::deque<std::string> names;
  static size_t known = 0;
  const auto ops = plugin_ops();
  const std::lock_guard lock(mutex);
  if (tables.empty() || known < ops.size()) {
    known = ops.size();
    std::vector<KernelEntry> table;
    for (const PluginOp* op : ops) {
      const std::span kernels(op->abi->kernels, static_cast<size_t>(op->abi->kernel_count));
      if (std::none_of(kernels.begin(), kernels.end(), [](const BertieKernel* kernel) { return runs_here(*kernel); })) continue;
      names.push_back(fmt::format("plugin {}", op->plugin));
      table.push_back({op->descriptor.name, names.back(), prepare});
    }
    tables.push_back(std::move(table));
  }
  return tables.back();
}

}  // namespace

const Backend& plugin_cpu_backend() {
  static constexpr Backend kBackend{kDevice, entries};
  return kBackend;
}

}  // namespace bertie
