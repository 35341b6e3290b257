#include "models/onnx_import.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "models/onnx_dynamic_ranges.h"
#include "models/onnx_node.h"
#include "models/onnx_roles.h"
#include "network/op.h"
#include "network/plugin_registry.h"

namespace bertie::models {
namespace {

constexpr ValueId kRefused = -2;        // made by a node that could not be expressed, or from such a value
constexpr int kMaxDepth = 64;           // of functions and branches inside one another
constexpr int64_t kMaxNodes = 1 << 17;  // after functions have been inlined

// The names that nodes see: a graph's, a function's or a branch's. A branch also sees those around it.
struct Scope {
  const Scope* outer = nullptr;
  const onnx::Graph* graph = nullptr;  // whose initializers are constants here
  const onnx::OpsetImports* opsets = nullptr;
  const std::vector<onnx::Attribute>* arguments = nullptr;  // of the function call
  std::string prefix;                                       // before the names of nodes
  int depth = 0;
  std::map<std::string, ValueId, std::less<>> values;
};

std::string label_of(const onnx::Node& node) {
  if (!node.name.empty()) return node.name;
  const auto named =
      std::find_if(node.outputs.begin(), node.outputs.end(), [](const std::string& name) { return !name.empty(); });
  return named == node.outputs.end() ? node.op : *named;
}

std::string op_of(const onnx::Node& node) { return node.domain.empty() ? node.op : node.domain + "." + node.op; }

const onnx::Graph* subgraph(const onnx::Attribute& attribute) {
  const auto* graph = std::get_if<std::shared_ptr<const onnx::Graph>>(&attribute.value);
  return graph ? graph->get() : nullptr;
}

// The names that a node reads, those that its branches read from outside included.
void collect_reads(const onnx::Node& node, std::vector<std::string_view>& reads) {
  for (const std::string& input : node.inputs) {
    if (!input.empty()) reads.push_back(input);
  }
  for (const onnx::Attribute& attribute : node.attributes) {
    const onnx::Graph* branch = subgraph(attribute);
    if (!branch) continue;
    for (const onnx::Node& inner : branch->nodes) collect_reads(inner, reads);
    for (const onnx::ValueInfo& output : branch->outputs) reads.push_back(output.name);
  }
}

// Which nodes are needed for the wanted names, producers before consumers, otherwise in the file's order.
class NodeOrder {
 public:
  NodeOrder(const std::vector<onnx::Node>& nodes, std::span<const std::string> wanted) : nodes_(nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      for (const std::string& output : nodes[i].outputs) {
        if (output.empty()) continue;
        if (!producers_.emplace(output, i).second) {
          fail(ErrorCode::invalid_file, "value '{}' is made twice, by '{}' too", output, label_of(nodes[i]));
        }
      }
    }
    reads_.resize(nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) collect_reads(nodes[i], reads_[i]);
    find_live(wanted);
    sort();
  }

  const std::vector<size_t>& sorted() const { return sorted_; }
  bool is_read(std::string_view name) const { return read_.contains(name); }
  bool makes(std::string_view name) const { return producers_.contains(name); }

 private:
  void find_live(std::span<const std::string> wanted) {
    live_.assign(nodes_.size(), false);
    std::vector<std::string_view> pending(wanted.begin(), wanted.end());
    while (!pending.empty()) {
      const std::string_view name = pending.back();
      pending.pop_back();
      if (!read_.insert(name).second) continue;
      const auto producer = producers_.find(name);
      if (producer == producers_.end() || live_[producer->second]) continue;
      live_[producer->second] = true;
      const auto& reads = reads_[producer->second];
      pending.insert(pending.end(), reads.begin(), reads.end());
    }
  }

  void sort() {
    enum : uint8_t { kNew, kOpen, kDone };
    std::vector<uint8_t> state(nodes_.size(), kNew);
    std::vector<std::pair<size_t, size_t>> stack;
    for (size_t root = 0; root < nodes_.size(); ++root) {
      if (!live_[root] || state[root] != kNew) continue;
      stack.emplace_back(root, 0);
      state[root] = kOpen;
      while (!stack.empty()) {
        auto& [index, next] = stack.back();
        if (next == reads_[index].size()) {
          state[index] = kDone;
          sorted_.push_back(index);
          stack.pop_back();
          continue;
        }
        const auto producer = producers_.find(reads_[index][next++]);
        if (producer == producers_.end() || state[producer->second] == kDone) continue;
        if (state[producer->second] == kOpen) {
          fail(ErrorCode::invalid_file, "the graph has a cycle through node '{}'", label_of(nodes_[producer->second]));
        }
        state[producer->second] = kOpen;
        stack.emplace_back(producer->second, 0);
      }
    }
  }

  const std::vector<onnx::Node>& nodes_;
  std::map<std::string_view, size_t, std::less<>> producers_;
  std::vector<std::vector<std::string_view>> reads_;
  std::vector<bool> live_;
  std::set<std::string_view, std::less<>> read_;
  std::vector<size_t> sorted_;
};

class Importer {
 public:
  explicit Importer(const onnx::Model& model) : model_(model) {}
  Network run();

 private:
  void check_versions() const;
  void add_inputs(Scope& scope);
  void add_outputs(Scope& scope);
  void check_stated(const onnx::ValueInfo& stated, ValueId value) const;
  void add_nodes(Scope& scope, const std::vector<onnx::Node>& nodes, std::span<const std::string> wanted);
  void add_node(Scope& scope, const onnx::Node& node, const std::vector<bool>& wanted);
  void add_op(Scope& scope, const onnx::Node& node, const std::vector<ValueId>& inputs, const std::vector<bool>& wanted);
  void add_call(const Scope& scope, const onnx::Function& function, const onnx::Node& node, const std::vector<ValueId>& inputs,
                const std::vector<bool>& wanted, std::vector<ValueId>& outputs);
  void add_branch(const Scope& scope, const onnx::Node& node, const std::vector<ValueId>& inputs, std::vector<ValueId>& outputs);
  std::vector<onnx::Attribute> resolved(const Scope& scope, const onnx::Node& node) const;
  const onnx::Function* function_of(const onnx::Node& node) const;
  // kRefused where it depends on a refused node; throws where nothing makes it.
  ValueId find(Scope& scope, const std::string& name, const onnx::Node& reader);
  std::optional<ValueId> look_up(const Scope& scope, const std::string& name);
  void refuse(const onnx::Node& node, const std::string& reason);
  void report_refusals() const;

  struct Refusals {
    int64_t count = 0;
    std::string first;  // the node's name
  };

  const onnx::Model& model_;
  Network network_;
  std::map<std::pair<const onnx::Graph*, std::string>, ValueId> constants_;
  std::vector<std::pair<std::string, Refusals>> refusals_;  // by op and reason, in order of appearance
  int64_t nodes_ = 0;
};

void Importer::check_versions() const {
  const auto opset = model_.opsets.find("");
  if (opset == model_.opsets.end()) return;  // an error where a node needs it
  if (opset->second < kOldestOpset || opset->second > kNewestOpset) {
    fail(ErrorCode::unsupported, "opset {} is not supported: {} to {} are", opset->second, kOldestOpset, kNewestOpset);
  }
}

std::optional<ValueId> Importer::look_up(const Scope& scope, const std::string& name) {
  for (const Scope* each = &scope; each; each = each->outer) {
    if (const auto found = each->values.find(name); found != each->values.end()) return found->second;
    if (!each->graph) continue;
    const auto initializer = each->graph->initializers.find(name);
    if (initializer == each->graph->initializers.end()) continue;
    const auto [known, is_new] = constants_.try_emplace({each->graph, name}, kNone);
    if (is_new) known->second = network_.add_constant(name, initializer->second);
    return known->second;
  }
  return std::nullopt;
}

ValueId Importer::find(Scope& scope, const std::string& name, const onnx::Node& reader) {
  const auto value = look_up(scope, name);
  if (!value) {
    fail(ErrorCode::invalid_file, "node '{}' ({}): nothing makes its input '{}'", label_of(reader), op_of(reader), name);
  }
  return *value;
}

void Importer::refuse(const onnx::Node& node, const std::string& reason) {
  const std::string key = op_of(node) + (reason.empty() ? "" : ": " + reason);
  auto entry = std::find_if(refusals_.begin(), refusals_.end(), [&](const auto& each) { return each.first == key; });
  if (entry == refusals_.end()) entry = refusals_.insert(entry, {key, {0, label_of(node)}});
  ++entry->second.count;
}

void Importer::report_refusals() const {
  if (refusals_.empty()) return;
  int64_t nodes = 0;
  std::vector<std::string> each;
  for (const auto& [key, refusals] : refusals_) {
    nodes += refusals.count;
    each.push_back(refusals.count == 1 ? fmt::format("{} (node '{}')", key, refusals.first)
                                       : fmt::format("{} ({} nodes, the first '{}')", key, refusals.count, refusals.first));
  }
  fail(ErrorCode::unsupported, "{} node{} of ops that are not supported: {}", nodes, nodes == 1 ? "" : "s",
       fmt::join(each, "; "));
}

// The node's attributes, those that stand for the enclosing function's replaced by what the call gives.
std::vector<onnx::Attribute> Importer::resolved(const Scope& scope, const onnx::Node& node) const {
  std::vector<onnx::Attribute> attributes;
  for (const onnx::Attribute& attribute : node.attributes) {
    if (attribute.reference.empty()) {
      attributes.push_back(attribute);
      continue;
    }
    const Scope* function = &scope;
    while (function && !function->arguments) function = function->outer;
    if (!function) {
      fail(ErrorCode::invalid_file, "node '{}': attribute '{}' refers to a function's, outside of one", label_of(node),
           attribute.name);
    }
    const auto given = std::find_if(function->arguments->begin(), function->arguments->end(),
                                    [&](const onnx::Attribute& each) { return each.name == attribute.reference; });
    if (given == function->arguments->end()) continue;  // left out in the call: left out here
    attributes.push_back(*given);
    attributes.back().name = attribute.name;
  }
  return attributes;
}

const onnx::Function* Importer::function_of(const onnx::Node& node) const {
  const auto found = std::find_if(model_.functions.begin(), model_.functions.end(), [&](const onnx::Function& function) {
    return function.name == node.op && function.domain == node.domain && function.overload == node.overload;
  });
  return found == model_.functions.end() ? nullptr : &*found;
}

void Importer::add_call(const Scope& scope, const onnx::Function& function, const onnx::Node& node,
                        const std::vector<ValueId>& inputs, const std::vector<bool>& wanted, std::vector<ValueId>& outputs) {
  if (inputs.size() > function.inputs.size() || outputs.size() > function.outputs.size()) {
    fail(ErrorCode::invalid_file, "node '{}': more inputs or outputs than function '{}' has", label_of(node), function.name);
  }
  std::vector<onnx::Attribute> arguments = resolved(scope, node);
  for (const onnx::Attribute& fallback : function.defaults) {
    const bool given = std::any_of(arguments.begin(), arguments.end(),
                                   [&](const onnx::Attribute& argument) { return argument.name == fallback.name; });
    if (!given) arguments.push_back(fallback);
  }
  Scope inside;
  inside.opsets = &function.opsets;
  inside.arguments = &arguments;
  inside.prefix = scope.prefix + label_of(node) + "/";
  inside.depth = scope.depth + 1;
  for (size_t i = 0; i < function.inputs.size(); ++i) {
    inside.values[function.inputs[i]] = i < inputs.size() ? inputs[i] : kNone;
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (wanted[i]) names.push_back(function.outputs[i]);
  }
  add_nodes(inside, function.nodes, names);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (wanted[i]) outputs[i] = find(inside, function.outputs[i], node);
  }
}

// An If whose condition is known before the run: the branch that is taken.
void Importer::add_branch(const Scope& scope, const onnx::Node& node, const std::vector<ValueId>& inputs,
                          std::vector<ValueId>& outputs) {
  const auto condition = inputs.empty() || inputs[0] == kNone ? std::nullopt : known_tensor(network_, inputs[0]);
  if (!condition) throw OnnxRefusal{"a condition that only the run knows"};
  if (condition->dtype != DType::boolean || condition->shape.elements() != 1) {
    fail(ErrorCode::invalid_file, "node '{}': its condition must be one bool", label_of(node));
  }
  const std::string_view taken = *condition->view().as<uint8_t>() != 0 ? "then_branch" : "else_branch";
  const auto attribute = std::find_if(node.attributes.begin(), node.attributes.end(),
                                      [&](const onnx::Attribute& each) { return each.name == taken && subgraph(each); });
  if (attribute == node.attributes.end()) fail(ErrorCode::invalid_file, "node '{}': it has no {}", label_of(node), taken);
  const onnx::Graph& branch = *subgraph(*attribute);
  if (branch.outputs.size() != outputs.size()) {
    fail(ErrorCode::invalid_file, "node '{}': {} outputs, its {} has {}", label_of(node), outputs.size(), taken,
         branch.outputs.size());
  }
  Scope inside;
  inside.outer = &scope;
  inside.graph = &branch;
  inside.opsets = scope.opsets;
  inside.prefix = scope.prefix;
  inside.depth = scope.depth + 1;
  std::vector<std::string> names;
  for (const onnx::ValueInfo& output : branch.outputs) names.push_back(output.name);
  add_nodes(inside, branch.nodes, names);
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i] = find(inside, names[i], node);
  log(LogLevel::debug, "{}: node '{}': its condition is known, {} taken", model_.file, label_of(node), taken);
}

void Importer::add_op(Scope& scope, const onnx::Node& node, const std::vector<ValueId>& inputs, const std::vector<bool>& wanted) {
  const auto opset = scope.opsets->find(node.domain);
  if (opset == scope.opsets->end() && node.domain.empty()) {
    fail(ErrorCode::invalid_file, "node '{}' ({}): opset_import does not state ONNX's own opset", label_of(node), op_of(node));
  }
  const int64_t version = opset == scope.opsets->end() ? 1 : opset->second;
  const OnnxOp* op = find_onnx_op(node.domain, node.op, version);
  const PluginOp* plugin = op ? nullptr : find_plugin_op(node.domain, node.op);
  if (!op && !plugin) throw OnnxRefusal{};
  OnnxNode built(network_, resolved(scope, node), inputs, wanted, version, scope.prefix + label_of(node));
  if (op) {
    op->build(built, op->argument);
  } else {
    built.make_plugin(plugin->descriptor.name);
  }
  built.check_all_used();
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (!node.outputs[i].empty()) scope.values[node.outputs[i]] = built.outputs()[i];
  }
}

void Importer::add_node(Scope& scope, const onnx::Node& node, const std::vector<bool>& wanted) {
  if (++nodes_ > kMaxNodes) fail(ErrorCode::unsupported, "over {} nodes once functions are inlined", kMaxNodes);
  if (scope.depth > kMaxDepth) {
    fail(ErrorCode::invalid_file, "node '{}' ({}): functions and branches over {} deep", label_of(node), op_of(node), kMaxDepth);
  }
  std::vector<ValueId> inputs;
  bool refused = false;
  for (const std::string& name : node.inputs) {
    inputs.push_back(name.empty() ? kNone : find(scope, name, node));
    refused = refused || inputs.back() == kRefused;
  }
  std::vector<ValueId> outputs(node.outputs.size(), kRefused);
  if (!refused) {
    try {
      const onnx::Function* function = function_of(node);
      if (function || (node.domain.empty() && node.op == "If")) {
        outputs.assign(node.outputs.size(), kNone);
        if (function) {
          add_call(scope, *function, node, inputs, wanted, outputs);
        } else {
          add_branch(scope, node, inputs, outputs);
        }
      } else {
        add_op(scope, node, inputs, wanted);
        return;
      }
    } catch (const OnnxRefusal& refusal) {
      refuse(node, refusal.reason);
      outputs.assign(node.outputs.size(), kRefused);
    }
  } else if (!function_of(node) && !(node.domain.empty() && node.op == "If")) {
    // Behind a refused node nothing can be built, but an op that nobody knows is worth naming already.
    try {
      const auto opset = scope.opsets->find(node.domain);
      const int64_t version = opset == scope.opsets->end() ? 1 : opset->second;
      if (!find_onnx_op(node.domain, node.op, version) && !find_plugin_op(node.domain, node.op)) refuse(node, "");
    } catch (const OnnxRefusal& refusal) {
      refuse(node, refusal.reason);
    }
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (!node.outputs[i].empty()) scope.values[node.outputs[i]] = outputs[i];
  }
}

void Importer::add_nodes(Scope& scope, const std::vector<onnx::Node>& nodes, std::span<const std::string> wanted) {
  for (const onnx::Node& node : nodes) {
    for (const std::string& output : node.outputs) {
      const bool taken = scope.values.contains(output) || (scope.graph && scope.graph->initializers.contains(output));
      if (!output.empty() && taken) {
        fail(ErrorCode::invalid_file, "node '{}' ({}): its output '{}' already is an input or an initializer", label_of(node),
             op_of(node), output);
      }
    }
  }
  const NodeOrder order(nodes, wanted);
  for (size_t index : order.sorted()) {
    const onnx::Node& node = nodes[index];
    std::vector<bool> wanted_outputs;
    for (const std::string& output : node.outputs) wanted_outputs.push_back(!output.empty() && order.is_read(output));
    try {
      add_node(scope, node, wanted_outputs);
    } catch (const Error& error) {
      // An op's own rule speaks of the network's op; the file's node is what its author knows.
      const bool named = std::string_view(error.what()).find("node '") != std::string_view::npos;
      const ErrorCode code = error.code() == ErrorCode::invalid_argument ? ErrorCode::invalid_file : error.code();
      if (named && code == error.code()) throw;
      fail(code, "node '{}' ({}): {}", label_of(node), op_of(node), error.what());
    }
  }
}

void Importer::add_inputs(Scope& scope) {
  const OnnxInputs inputs = understand_inputs(model_.graph);
  for (size_t i = 0; i < model_.graph.inputs.size(); ++i) {
    const onnx::ValueInfo& stated = model_.graph.inputs[i];
    if (!stated.dtype) {
      const bool lacks = !stated.type.empty();
      fail(lacks ? ErrorCode::unsupported : ErrorCode::invalid_file, "input '{}': {}", stated.name,
           lacks ? "element type " + stated.type + " is not supported" : "its type is not stated");
    }
    if (!stated.shape) fail(ErrorCode::unsupported, "input '{}': of unknown rank", stated.name);
    if (stated.shape->size() > Shape::kMaxRank) {
      fail(ErrorCode::unsupported, "input '{}': rank {}, at most {} is supported", stated.name, stated.shape->size(),
           Shape::kMaxRank);
    }
    const ValueId value = network_.add_input(stated.name, *stated.dtype, inputs.shapes[i]);
    scope.values[stated.name] = value;
    if (network_.value(value).role != inputs.roles[i]) network_.set_role(value, inputs.roles[i]);
  }
}

// The file's own statement about a value must agree with what its node makes.
void Importer::check_stated(const onnx::ValueInfo& stated, ValueId id) const {
  const Value& value = network_.value(id);
  const auto contradict = [&](std::string_view says) {
    fail(ErrorCode::invalid_file, "output '{}': the file says {}, its node makes {} {}", stated.name, says,
         dtype_name(value.dtype), to_string(value.shape));
  };
  if (stated.dtype && *stated.dtype != value.dtype && !(is_float(*stated.dtype) && is_float(value.dtype)))
    contradict(stated.type);
  if (!stated.shape) return;
  bool fits = stated.shape->size() == value.shape.size();
  for (size_t i = 0; fits && i < value.shape.size(); ++i) {
    const onnx::Extent& extent = (*stated.shape)[i];
    fits = !extent.size || !value.shape[i].is_fixed() || *extent.size == value.shape[i].size;
  }
  std::vector<std::string> extents;
  for (const onnx::Extent& extent : *stated.shape) {
    extents.push_back(extent.size ? std::to_string(*extent.size) : extent.symbol.empty() ? "?" : extent.symbol);
  }
  if (!fits) contradict(fmt::format("{} [{}]", stated.type, fmt::join(extents, ", ")));
}

void Importer::add_outputs(Scope& scope) {
  for (const onnx::ValueInfo& output : model_.graph.outputs) {
    const auto value = look_up(scope, output.name);
    if (!value) fail(ErrorCode::invalid_file, "output '{}': nothing makes it", output.name);
    if (*value == kRefused) continue;  // reported already
    check_stated(output, *value);
    network_.add_output(output.name, *value);
  }
}

Network Importer::run() {
  check_versions();
  if (model_.graph.outputs.empty()) fail(ErrorCode::invalid_file, "the graph has no outputs");
  Scope scope;
  scope.graph = &model_.graph;
  scope.opsets = &model_.opsets;
  add_inputs(scope);
  std::vector<std::string> wanted;
  for (const onnx::ValueInfo& output : model_.graph.outputs) wanted.push_back(output.name);
  add_nodes(scope, model_.graph.nodes, wanted);
  report_refusals();
  add_outputs(scope);
  for (const std::string& line : quantize_rows_apart(network_)) log(LogLevel::info, "{}: {}", model_.file, line);
  network_.verify();
  return std::move(network_);
}

}  // namespace

Network import_onnx(onnx::Model model) {
  try {
    return Importer(model).run();
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", model.file, error.what());
  }
}

}  // namespace bertie::models
