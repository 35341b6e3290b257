#include "network/plugin_compose.h"

#include <cstring>

#include "network/plugin_node.h"

namespace bertie {
namespace {

// Copies the bytes.
Tensor copy_of(DType dtype, const Shape& shape, const void* data) {
  Tensor tensor{dtype, shape, nullptr};
  const size_t bytes = tensor.bytes();
  std::shared_ptr<std::byte[]> storage(new std::byte[bytes + 1]);
  if (bytes) std::memcpy(storage.get(), data, bytes);
  tensor.data = std::shared_ptr<const void>(storage, storage.get());
  return tensor;
}

// Nothing may be thrown through the plugin's frames: the first fault is kept.
class Sink {
 public:
  Sink(Network& network, std::string name) : network_(network), name_(std::move(name)) {}

  static int32_t constant(void* target, int32_t dtype, int32_t rank, const int64_t* extents, const void* data) noexcept {
    return guarded(target, [&](Sink& own) {
      if (dtype < 0 || dtype > BERTIE_BOOL) fail(ErrorCode::invalid_argument, "a constant has no such dtype: {}", dtype);
      if (rank < 0 || rank > Shape::kMaxRank || (rank > 0 && !extents))
        fail(ErrorCode::invalid_argument, "a constant of rank {}; at most {}", rank, Shape::kMaxRank);
      const Shape shape(std::span<const int64_t>(extents, static_cast<size_t>(rank)));
      int64_t elements = 1;
      for (int64_t extent : shape) {
        if (extent < 0 || __builtin_mul_overflow(elements, extent, &elements) || elements > (int64_t{1} << 40))
          fail(ErrorCode::invalid_argument, "a constant of shape {}", shape.to_string());
      }
      if (elements > 0 && !data) fail(ErrorCode::invalid_argument, "a constant without data");
      return own.network_.add_constant(own.name_ + ".constant", copy_of(static_cast<DType>(dtype), shape, data));
    });
  }

  static int64_t node(void* target, const char* op, int64_t input_count, const int32_t* inputs, int64_t attribute_count,
                      const BertieAttribute* attributes, int64_t capacity, int32_t* outputs) noexcept {
    return guarded(target, [&](Sink& own) {
      if (!op || input_count < 0 || input_count > kMostPluginValues || (input_count > 0 && !inputs) || attribute_count < 0 ||
          (attribute_count > 0 && !attributes))
        fail(ErrorCode::invalid_argument, "a node without an op, or of {} inputs and {} attributes", input_count,
             attribute_count);
      // A plugin's op could come back to itself.
      if (find_plugin_op(op)) fail(ErrorCode::invalid_argument, "op '{}': a composition is made of ops of the vocabulary", op);
      Attributes given;
      for (int64_t i = 0; i < attribute_count; ++i) given.emplace(attributes[i].name, to_attribute(attributes[i]));
      const auto made = own.network_.add_node(op, {inputs, inputs + input_count}, std::move(given), own.name_ + "." + op);
      for (int64_t i = 0; i < std::min(capacity, static_cast<int64_t>(made.size())); ++i)
        outputs[i] = made[static_cast<size_t>(i)];
      return static_cast<int64_t>(made.size());
    });
  }

  static void output(void* target, int32_t value) noexcept {
    guarded(target, [&](Sink& own) {
      if (value < 0 || static_cast<size_t>(value) >= own.network_.value_count())
        fail(ErrorCode::invalid_argument, "result {} is no value", own.outputs_.size());
      own.outputs_.push_back(value);
      return 0;
    });
  }

  const std::string& fault() const { return fault_; }
  std::vector<ValueId> take_outputs() { return std::move(outputs_); }

 private:
  template <typename Body>
  static auto guarded(void* target, Body&& body) noexcept -> decltype(body(std::declval<Sink&>())) {
    Sink& own = *static_cast<Sink*>(target);
    try {
      return body(own);
    } catch (const std::exception& error) {
      if (own.fault_.empty()) own.fault_ = error.what();
      return -1;
    }
  }

  Network& network_;
  std::string name_;
  std::vector<ValueId> outputs_;
  std::string fault_;
};

}  // namespace

std::optional<std::vector<ValueId>> compose_plugin(Network& network, NodeId id) {
  const Node node = network.node(id);
  const PluginOp& op = *find_plugin_op(node.op);
  if (!op.abi->compose) return std::nullopt;
  // Copies: the network's own move while it grows.
  std::vector<Value> values;
  values.reserve(node.inputs.size() + node.outputs.size());
  std::vector<const Value*> inputs, outputs;
  for (ValueId input : node.inputs) inputs.push_back(input == kNone ? nullptr : &values.emplace_back(network.value(input)));
  for (ValueId output : node.outputs) outputs.push_back(&values.emplace_back(network.value(output)));
  const PluginNode seen(node, inputs, outputs);

  Sink sink(network, node.name);
  const BertieGraph graph = {.size = sizeof(BertieGraph),
                             .target = &sink,
                             .input_count = static_cast<int64_t>(node.inputs.size()),
                             .inputs = node.inputs.data(),
                             .constant = Sink::constant,
                             .node = Sink::node,
                             .output = Sink::output};
  const PluginText text;
  const int32_t status = op.abi->compose(op.abi->self, &seen.abi(), &graph, &text.abi());
  if (status == BERTIE_REFUSED) return std::nullopt;
  constexpr std::string_view kDoing = "its composition";
  if (!sink.fault().empty()) fail_plugin(op, node.name, kDoing, sink.fault());
  if (status != BERTIE_OK) fail_plugin(op, node.name, kDoing, text.line());
  std::vector<ValueId> results = sink.take_outputs();
  if (results.size() != node.outputs.size())
    fail_plugin(op, node.name, kDoing, fmt::format("{} results, the op has {}", results.size(), node.outputs.size()));
  for (size_t i = 0; i < results.size(); ++i) {
    const Value& made = network.value(results[i]);
    const Value& wanted = *outputs[i];
    if (made.dtype != wanted.dtype || made.shape != wanted.shape) {
      fail_plugin(op, node.name, kDoing,
                  fmt::format("result {} is {} {}, its shape rule says {} {}", i, dtype_name(made.dtype), to_string(made.shape),
                              dtype_name(wanted.dtype), to_string(wanted.shape)));
    }
  }
  return results;
}

}  // namespace bertie
