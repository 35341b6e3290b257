#include <algorithm>
#include <mutex>
#include <set>

#include "base/cpu_affinity.h"
#include "base/cpu_topology.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "engine/backends.h"
#include "engine/engine_impl.h"
#include "engine/execution.h"
#include "engine/expand_plugins.h"
#include "engine/kernel_choice.h"
#include "engine/network_inputs.h"
#include "network/linear_skip_layer_norm.h"
#include "network/plugin_registry.h"
#include "passes/pass.h"

namespace bertie {
namespace {

// The smallest table that an input's ids index; 0 where none does.
int64_t table_rows(const Network& network, InputRole role) {
  const ValueId input = network.input_of(role);
  int64_t rows = 0;
  const auto note = [&](ValueId ids, ValueId table) {
    if (ids == kNone || ids != input) return;
    const int64_t extent = network.value(table).shape[0].size;
    rows = rows == 0 ? extent : std::min(rows, extent);
  };
  for (NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (node.op == "embedding") note(node.input(1), node.input(0));
    if (node.op == "embedding_layer_norm") {
      for (size_t i = 0; i < 3; ++i) note(node.input(i), node.input(i + 3));
    }
  }
  return rows;
}

bool reads_first_rows(const Network& network) {
  const auto inputs = network.inputs();
  if (std::any_of(inputs.begin(), inputs.end(), [&](ValueId id) { return network.value(id).name == kFirstRows; })) return true;
  const auto order = network.order();
  return std::any_of(order.begin(), order.end(), [&](NodeId id) {
    const Node& node = network.node(id);
    return node.op == "pool" && node.text("mode") == "cls" && is_packed(network.value(node.input(0)));
  });
}

int64_t smallest_bias(const Network& network) {
  int64_t columns = 0;
  for (NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (node.op != "attention" || node.input(4) == kNone) continue;
    const int64_t own = (network.value(node.input(4)).shape[1].size + 1) / 2;
    columns = columns == 0 ? own : std::min(columns, own);
  }
  return columns;
}

// The products' where those are in eight bits, else what its floats are kept in.
std::string computed_in(const Network& network, const Node& node, std::string floats) {
  if (is_eight_bit_attention(node)) return node.text("precision");
  if (!is_eight_bit_linear(node) && !is_linear_skip_layer_norm(node)) return floats;
  const DType element = network.value(node.input(kLinearX)).dtype;
  return element == DType::i8 ? "int8" : element == DType::u8 ? "fp8" : std::move(floats);
}

StepInfo describe(const Network& network, const Node& node, const KernelChoice& choice) {
  StepInfo info;
  info.name = node.name;
  info.op = node.op;
  info.kernel = choice.name;
  info.portable_name = choice.portable_name;
  info.device = choice.backend;
  info.precision = computed_in(network, node, node.text("precision", "fp32"));
  info.reason = choice.reason;
  info.rows = rows_of(network, node);
  info.output_shape = to_string(network.value(node.outputs[0]).shape);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNone) continue;
    const Value& value = network.value(node.inputs[i]);
    if (value.constant && choice.kernel->reads_constant(i)) info.weight_bytes += value.constant->bytes();
  }
  info.weight_bytes += choice.kernel->packed_bytes();
  return info;
}

// Lets go of constants whose bytes no kernel reads any more: they were packed.
void release_packed_constants(Network& network, const std::vector<EngineStep>& steps) {
  std::set<ValueId> read;
  for (const EngineStep& step : steps) {
    const Node& node = network.node(step.node);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (step.kernel->reads_constant(i)) read.insert(node.inputs[i]);
    }
  }
  for (const Network::Output& output : network.outputs()) read.insert(output.value);
  for (size_t i = 0; i < network.value_count(); ++i) {
    const ValueId id = static_cast<ValueId>(i);
    auto& constant = network.mutable_value(id).constant;
    if (constant && !read.contains(id)) constant->data.reset();
  }
}

// Network outputs are given as the network says; a device may keep them in 16 bits.
template <typename AddStep>
void add_result_casts(Network& network, KernelChooser& chooser, AddStep add_step) {
  const auto outputs = network.outputs();
  const std::vector<Network::Output> before(outputs.begin(), outputs.end());
  for (const Network::Output& output : before) {
    const DType declared = network.value(output.value).dtype;
    if (chooser.stored()[static_cast<size_t>(output.value)] == declared) continue;
    const ValueId cast = network.add_cast(output.value, declared, output.name + ".cast");
    network.replace_output(output.value, cast);
    add_step(network.value(cast).producer);
  }
}

// A plugin's kernels are made for the dtypes that the network says.
template <typename AddStep>
void add_input_casts(Network& network, NodeId id, KernelChooser& chooser, AddStep add_step) {
  for (size_t i = 0; i < network.node(id).inputs.size(); ++i) {
    const ValueId input = network.node(id).inputs[i];
    if (input == kNone || chooser.stored()[static_cast<size_t>(input)] == network.value(input).dtype) continue;
    const ValueId cast = network.add_cast(input, network.value(input).dtype, network.value(input).name + ".cast");
    network.mutable_node(id).inputs[i] = cast;
    add_step(network.value(cast).producer);
  }
}

void check_precisions(const EngineOptions& options, const std::vector<LayerPrecision>& layers, const Target& target) {
  const auto check = [&](const std::string& precision, std::string_view what, const std::string& said) {
    const std::vector<std::string> names = target.precision_names();
    if (std::find(names.begin(), names.end(), precision) != names.end()) return;
    fail(ErrorCode::unsupported, "{} '{}': device {} has {}", what, said, options.device, fmt::join(names, ", "));
  };
  if (options.precision == "auto") {
    if (!options.calibration || options.calibration->max_loss == 0) {
      fail(ErrorCode::invalid_argument,
           "precision 'auto' needs a calibration that says which layers stay in float32 (bertie calibrate --max-loss)");
    }
    check("int8", "precision", options.precision);
  } else {
    check(options.precision, "precision", options.precision);
  }
  for (size_t i = 0; i < layers.size(); ++i) check(layers[i].precision, "layer precision", options.layer_precision[i]);
}

// Layers that an engine file holds in fp8 run in nothing else; those in int8 run on every device.
void check_held_layers(const Network& network, const std::string& device, const Target& target) {
  const std::vector<std::string> names = target.precision_names();
  if (std::find(names.begin(), names.end(), "fp8") != names.end()) return;
  for (const NodeId id : network.order()) {
    if (network.node(id).op != "fp8_linear") continue;
    fail(ErrorCode::unsupported,
         "linear layer '{}' is held in fp8: device {} has {}; run the file on a device that has fp8 (`bertie devices` lists "
         "them), or build it again in one of these",
         network.node(id).name, device, fmt::join(names, ", "));
  }
}

// Opens the device, and chooses a kernel for each node of the network.
void choose_kernels(Engine::Impl& impl, const Target& target, const std::string& device, const Tuning& tuning,
                    ThreadPool& packing) {
  Network& network = impl.network;
  const Backend& first = *target.backends.front();
  if (first.open) impl.device = first.open(device);
  KernelChooser chooser(network, target.backends, packing, *impl.pool, tuning, impl.device);
  expand_plugins(network, chooser, device == "reference");
  impl.execution = choose_execution(network);
  impl.position_rule = network.position_rule().value_or(PositionRule{});
  impl.vocabulary = table_rows(network, InputRole::token_ids);
  impl.types = table_rows(network, InputRole::type_ids);
  impl.positions = table_rows(network, InputRole::position_ids);
  impl.bias_columns = smallest_bias(network);
  impl.reads_first_rows = reads_first_rows(network);
  std::set<const Kernel*> counted;
  std::vector<bool> host_values;
  std::string on_host;  // for want of a kernel of the device
  const auto add_step = [&](NodeId id) {
    host_values.resize(network.value_count(), false);
    const Node& node = network.node(id);
    const bool belongs = impl.device && !impl.execution.planned && belongs_on_host(network, node, host_values);
    KernelChoice choice = chooser.choose(node, belongs);
    StepInfo info = describe(network, node, choice);
    if (impl.device && !choice.on_device) {
      for (ValueId output : node.outputs) host_values[static_cast<size_t>(output)] = true;
      info.precision = computed_in(network, node, "fp32");
      if (!belongs) on_host += fmt::format("{}{} '{}'", on_host.empty() ? "" : ", ", node.op, node.name);
    }
    if (counted.insert(choice.kernel.get()).second) impl.weight_bytes += info.weight_bytes;
    impl.infos.push_back(std::move(info));
    impl.steps.push_back({id, choice.kernel, choice.on_device});
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      if (input == kNone || !network.value(input).constant || choice.kernel->reads_constant(i)) continue;
      const Tensor& constant = *network.value(input).constant;
      release_resident(constant.data.get(), constant.bytes());
    }
  };
  for (NodeId id : network.order()) {
    if (impl.device && find_plugin_op(network.node(id).op)) add_input_casts(network, id, chooser, add_step);
    add_step(id);
  }
  if (!on_host.empty()) {
    log(LogLevel::warning, "device {}: it has no kernel for {}: on the CPU", device, on_host);
    if (impl.execution.planned) impl.execution = {false, fmt::format("the device has no kernel for {}", on_host)};
  }
  if (impl.device && impl.execution.planned) add_result_casts(network, chooser, add_step);
  impl.stored = chooser.stored();
  impl.timings = chooser.applied();
}

}  // namespace

std::shared_ptr<const Engine> Engine::build(const Network& network, const EngineOptions& options) {
  return Impl::build(network, options, target_of(options.device));
}

std::shared_ptr<const Engine> Engine::Impl::build(const Network& source, const EngineOptions& options, const Target& target) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  PassOptions passes = pass_options(options);
  check_held_layers(source, options.device, target);
  check_precisions(options, passes.layer_precision, target);
  if (options.threads < 0) fail(ErrorCode::invalid_argument, "threads {}: 0 or more", options.threads);

  Network& network = impl->network;
  network = source;
  if (!options.outputs.empty()) network.keep_outputs(options.outputs);
  passes.linear_only = target.linear_only();
  passes.float_precision = target.float_precision;
  passes.fuses_linear_layer_norm = target.fuses_linear_layer_norm();
  impl->passes = run_passes(network, passes);
  network.remove_dead_nodes();

  const std::vector<int> cpus = options.pin ? pinning_order(read_cpu_topology(allowed_cpus())) : std::vector<int>();
  const auto all_threads = std::make_shared<ThreadPool>(options.threads, cpus);
  impl->threads = all_threads->threads();
  const bool on_cpu = !target.backends.front()->open, alone = on_cpu && options.mode == Mode::throughput;
  impl->pool = alone ? std::make_shared<ThreadPool>(1) : all_threads;
  if (on_cpu && !cpus.empty()) {
    const size_t callers = alone ? std::min(cpus.size(), static_cast<size_t>(impl->threads)) : 1;
    impl->caller_cpus.assign(cpus.begin(), cpus.begin() + static_cast<std::ptrdiff_t>(callers));
    for (size_t i = 0; i < callers; ++i) impl->caller_cpu_uses.push_back(std::make_shared<int>());
  }
  Tuning tuning{options.timings, options.tune};
  if (options.tune && !tuning.timings) tuning.timings = std::make_shared<KernelTimings>();
  for (size_t i = 1; i < target.devices.size(); ++i) {
    auto& replica = impl->replicas.emplace_back(std::make_unique<Impl>());
    replica->network = network;
    replica->options = options;
    replica->pool = impl->pool;
  }
  choose_kernels(*impl, target, target.devices.front(), tuning, *all_threads);
  for (size_t i = 0; i < impl->replicas.size(); ++i)
    choose_kernels(*impl->replicas[i], target, target.devices[i + 1], tuning, *all_threads);
  release_packed_constants(network, impl->steps);
  for (auto& replica : impl->replicas) release_packed_constants(replica->network, replica->steps);
  log(LogLevel::info, "engine: {}: {}", impl->execution.planned ? "planned" : "step by step", impl->execution.reason);
  if (tuning.timings) tuning.timings->impl().flush();
  log(LogLevel::info, "engine: {} steps on {}, {:.1f} MB of weights, {} threads", impl->steps.size(), options.device,
      static_cast<double>(impl->weight_bytes) / 1e6, impl->threads);
  return std::shared_ptr<const Engine>(new Engine(std::move(impl)));
}

Engine::Impl::Place Engine::Impl::of_new_session(const Engine& engine) {
  // Two sessions made at the same moment must not take the same place.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const Impl* best = engine.impl_.get();
  for (const auto& replica : engine.impl_->replicas) {
    if (replica->uses.use_count() < best->uses.use_count()) best = replica.get();
  }
  if (best->caller_cpus.empty()) return {best, best->uses};
  const auto& uses = best->caller_cpu_uses;
  const auto fewest =
      std::min_element(uses.begin(), uses.end(), [](const auto& a, const auto& b) { return a.use_count() < b.use_count(); });
  return {best, *fewest, best->caller_cpus[static_cast<size_t>(fewest - uses.begin())]};
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;
const Network& Engine::network() const { return impl_->network; }
std::span<const StepInfo> Engine::steps() const { return impl_->infos; }
std::span<const PassReport> Engine::passes() const { return impl_->passes; }
const EngineOptions& Engine::options() const { return impl_->options; }
const Execution& Engine::execution() const { return impl_->execution; }
size_t Engine::weight_bytes() const { return impl_->weight_bytes; }
std::shared_ptr<KernelTimings> Engine::timings() const { return impl_->timings; }
int Engine::threads() const { return impl_->threads; }
int Engine::replicas() const { return static_cast<int>(impl_->replicas.size()) + 1; }

}  // namespace bertie
