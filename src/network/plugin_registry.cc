#include "network/plugin_registry.h"

#include <deque>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "base/log.h"
#include "network/dim.h"
#include "network/plugin_check.h"
#include "network/plugin_node.h"

namespace bertie {
namespace {

struct Registry {
  std::shared_mutex mutex;
  std::deque<PluginOp> ops;  // addresses stay
  std::map<std::string_view, const PluginOp*> by_name;
  std::vector<PluginCalibrator> calibrators;
  std::vector<std::pair<const BertiePlugin*, PluginInfo>> plugins;
};

Registry& registry() {
  static Registry* const own = new Registry;  // outlives every static that may still use it
  return *own;
}

// Takes a rule's results; nothing may be thrown through the plugin's frames.
struct ShapeSink {
  const Node& node;
  std::vector<InferredOutput> outputs;
  std::string fault;

  static void output(void* target, int32_t dtype, int32_t rank, const BertieDim* dims) noexcept {
    ShapeSink& own = *static_cast<ShapeSink*>(target);
    try {
      own.take(dtype, rank, dims);
    } catch (const std::exception& error) {
      own.fault = error.what();
    }
  }

 private:
  void take(int32_t dtype, int32_t rank, const BertieDim* dims) {
    const size_t index = outputs.size();
    if (index == kMostPluginValues) {
      fault = fmt::format("more than {} outputs", kMostPluginValues);
    } else if (dtype < 0 || dtype > BERTIE_BOOL) {
      fault = fmt::format("output {} has no such dtype: {}", index, dtype);
    } else if (rank < 0 || rank > Shape::kMaxRank || (rank > 0 && !dims)) {
      fault = fmt::format("output {} of rank {}; at most {}", index, rank, Shape::kMaxRank);
    } else {
      SymbolicShape shape;
      const std::string name = index == 0 ? node.name : fmt::format("{}:{}", node.name, index);
      for (int32_t axis = 0; axis < rank; ++axis) {
        if (!dims[axis].symbol && dims[axis].size < 0) fault = fmt::format("output {} has a negative extent", index);
        shape.push_back(to_dim(dims[axis], unknown_dim(name, static_cast<size_t>(axis))));
      }
      outputs.push_back({static_cast<DType>(dtype), std::move(shape), std::nullopt});
    }
  }
};

void infer(OpContext& context) {
  const Node& node = context.node();
  const PluginOp& op = *find_plugin_op(node.op);
  std::vector<const Value*> inputs;
  for (size_t i = 0; i < context.input_count(); ++i) inputs.push_back(context.has(i) ? &context.value(i) : nullptr);
  if (inputs.size() > kMostPluginValues) context.reject(fmt::format("at most {} inputs", kMostPluginValues));

  const PluginNode seen(node, inputs, {});
  ShapeSink sink{node, {}, {}};
  const BertieShapes shapes{sizeof(BertieShapes), &sink, ShapeSink::output};
  const PluginText text;
  const int32_t status = op.abi->infer(op.abi->self, &seen.abi(), &shapes, &text.abi());
  if (status == BERTIE_REFUSED) context.reject(text.line());
  if (status != BERTIE_OK) fail_plugin(op, node.name, "its shape rule", text.line());
  if (sink.fault.empty() && sink.outputs.empty()) sink.fault = "no output";
  if (sink.fault.empty() && !node.outputs.empty() && sink.outputs.size() != node.outputs.size())
    sink.fault = fmt::format("{} outputs, earlier {}", sink.outputs.size(), node.outputs.size());
  if (!sink.fault.empty()) fail_plugin(op, node.name, "its shape rule", sink.fault);
  for (InferredOutput& output : sink.outputs) context.output(output.dtype, std::move(output.shape));
}

PluginOp entry_of(const BertieOp& abi, const std::string& plugin) {
  PluginOp op;
  op.plugin = plugin;
  op.abi = &abi;
  op.descriptor.name = abi.name;
  op.descriptor.required_inputs = static_cast<size_t>(abi.required_inputs);
  op.descriptor.inputs.assign(abi.inputs, abi.inputs + abi.input_count);
  for (int64_t i = 0; i < abi.attribute_count; ++i) op.descriptor.attributes.emplace_back(abi.attributes[i].name);
  op.descriptor.attributes.push_back(kPluginVersion);
  op.descriptor.infer = infer;
  op.descriptor.variadic = abi.variadic;
  return op;
}

constexpr std::string_view kTypeNames[] = {"an integer", "a real", "a text", "a list of integers", "a list of reals"};

}  // namespace

const PluginOp* find_plugin_op(std::string_view name) {
  if (name.find("::") == std::string_view::npos) return nullptr;
  Registry& all = registry();
  const std::shared_lock lock(all.mutex);
  const auto found = all.by_name.find(name);
  return found == all.by_name.end() ? nullptr : found->second;
}

const PluginOp* find_plugin_op(std::string_view domain, std::string_view op_type) {
  return find_plugin_op(fmt::format("{}::{}", domain, op_type));
}

std::vector<const PluginOp*> plugin_ops() {
  Registry& all = registry();
  const std::shared_lock lock(all.mutex);
  std::vector<const PluginOp*> ops;
  for (const PluginOp& op : all.ops) ops.push_back(&op);
  return ops;
}

std::vector<PluginCalibrator> plugin_calibrators() {
  Registry& all = registry();
  const std::shared_lock lock(all.mutex);
  return all.calibrators;
}

void complete_attributes(const PluginOp& op, Node& node) {
  const BertieOp& abi = *op.abi;
  for (int64_t i = 0; i < abi.attribute_count; ++i) {
    const BertieAttribute& declared = abi.attributes[i];
    const auto found = node.attributes.find(std::string_view(declared.name));
    if (found == node.attributes.end()) {
      if (declared.required) {
        fail(ErrorCode::invalid_argument, "{} '{}': attribute '{}' is missing", node.op, node.name, declared.name);
      }
      node.attributes.emplace(declared.name, to_attribute(declared));
      continue;
    }
    Attribute& given = found->second;
    const size_t wanted = static_cast<size_t>(declared.type);
    if (const auto* integer = std::get_if<int64_t>(&given); integer && wanted == BERTIE_REAL) {
      given = static_cast<double>(*integer);
    } else if (const auto* list = std::get_if<std::vector<int64_t>>(&given); list && wanted == BERTIE_REALS) {
      given = std::vector<double>(list->begin(), list->end());
    }
    if (given.index() != wanted) {
      fail(ErrorCode::invalid_argument, "{} '{}': attribute '{}' is {}, expected {}", node.op, node.name, declared.name,
           kTypeNames[given.index()], kTypeNames[wanted]);
    }
  }
  const auto [version, absent] = node.attributes.try_emplace(std::string(kPluginVersion), int64_t{abi.version});
  if (!absent && version->second != Attribute(int64_t{abi.version})) {
    fail(ErrorCode::unsupported, "{} '{}': made with version {} of the op, but plugin '{}' has version {}", node.op, node.name,
         to_string(version->second), op.plugin, abi.version);
  }
}

bool is_row_wise_plugin(const Network& network, const Node& node) {
  const PluginOp* op = find_plugin_op(node.op);
  if (!op || !op->abi->row_wise) return false;
  const PluginNode seen(network, node);
  return op->abi->row_wise(op->abi->self, &seen.abi()) == 1;
}

PluginInfo register_plugin(const BertiePlugin& plugin, const std::string& path) {
  const std::string where = path.empty() ? "plugin" : fmt::format("plugin '{}'", path);
  if (plugin.abi != BERTIE_PLUGIN_ABI) {
    fail(ErrorCode::unsupported, "{}: made for version {} of the plugin interface; this bertie has version {}", where, plugin.abi,
         BERTIE_PLUGIN_ABI);
  }
  if (const std::string fault = description_fault(plugin); !fault.empty())
    fail(ErrorCode::invalid_argument, "{}: {}", where, fault);
  PluginInfo info{plugin.name, plugin.version, path, {}, {}};
  const std::string label = fmt::format("{} v{}", info.name, info.version);

  Registry& all = registry();
  {
    const std::unique_lock lock(all.mutex);
    for (const auto& [known, its_info] : all.plugins) {
      if (known == &plugin) return its_info;
    }
    for (int64_t i = 0; i < plugin.op_count; ++i) {
      if (const auto taken = all.by_name.find(plugin.ops[i]->name); taken != all.by_name.end()) {
        fail(ErrorCode::invalid_argument, "{}: plugin '{}' already has an op '{}'", where, taken->second->plugin,
             plugin.ops[i]->name);
      }
    }
    for (int64_t i = 0; i < calibrator_count(plugin); ++i) {
      const std::string_view name = plugin.calibrators[i]->name;
      for (const PluginCalibrator& known : all.calibrators) {
        if (known.abi->name == name)
          fail(ErrorCode::invalid_argument, "{}: plugin '{}' already has a calibrator '{}'", where, known.plugin, name);
      }
    }
    for (int64_t i = 0; i < plugin.op_count; ++i) {
      const PluginOp& op = all.ops.emplace_back(entry_of(*plugin.ops[i], label));
      all.by_name.emplace(op.descriptor.name, &op);
      info.ops.push_back(fmt::format("{} v{}", op.descriptor.name, op.abi->version));
    }
    for (int64_t i = 0; i < calibrator_count(plugin); ++i) {
      all.calibrators.push_back({label, plugin.calibrators[i]});
      info.calibrators.emplace_back(plugin.calibrators[i]->name);
    }
    all.plugins.emplace_back(&plugin, info);
  }
  log(LogLevel::info, "plugin {}: {}", label, fmt::join(info.ops.empty() ? info.calibrators : info.ops, ", "));
  return info;
}

PluginInfo register_plugin(const BertiePlugin& plugin) { return register_plugin(plugin, ""); }

std::vector<PluginInfo> loaded_plugins() {
  Registry& all = registry();
  const std::shared_lock lock(all.mutex);
  std::vector<PluginInfo> infos;
  for (const auto& [plugin, info] : all.plugins) infos.push_back(info);
  return infos;
}

}  // namespace bertie
