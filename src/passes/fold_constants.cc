// What the network's weights and declared extents fix already is computed once, here: nodes of constant inputs, and integer results whose
// elements the shape rules know as numbers. int8 weights that are dequantised become floats (their arithmetic is f32).
#include <map>

#include "passes/match.h"
#include "passes/pass.h"
#include "reference/evaluate.h"

namespace bertie {
namespace {

// A result of more bytes is kept only where it has no more elements than went in: an expansion is cheaper to make anew than to store.
constexpr size_t kFreeBytes = 1 << 20;

int64_t elements_of(const Network& network, std::span<const ValueId> values) {
  int64_t count = 0;
  for (ValueId id : values) {
    if (id == kNone) continue;
    int64_t elements = 1;
    for (const Dim& dim : network.value(id).shape) elements *= dim.size;
    count += elements;
  }
  return count;
}

// Elements that are numbers, as a tensor; nullopt where one is a symbol.
std::optional<Tensor> known_tensor(const Value& value) {
  if (!value.elements || value.dtype != DType::i64) return std::nullopt;
  std::vector<int64_t> numbers;
  for (const Dim& element : *value.elements) {
    if (!element.is_fixed()) return std::nullopt;
    numbers.push_back(element.size);
  }
  const Shape shape = value.shape.empty() ? Shape() : Shape({static_cast<int64_t>(numbers.size())});
  return Tensor::from_int64s(shape, numbers);
}

class Folding {
 public:
  Folding(Network& network, PassLog& log) : network_(network), log_(log) {}

  void run() {
    for (NodeId id : network_.order()) {
      const Node node = network_.node(id);
      if (fold_known(node) || !has_constant_inputs(node) || keep_half(node)) continue;
      if (is_read_as_it_lies(node)) {
        log_.refused("{}: the products that read it take the weight as it lies", node.name);
      } else if (const std::string reason = too_large(node); !reason.empty()) {
        log_.refused("{}: {}", node.name, reason);
      } else {
        fold(node);
      }
    }
    network_.remove_dead_nodes();
    network_.infer_shapes();
    log_.matched_each("elements known from the shapes", known_);
    log_.matched_each("half floats, read as they are", half_);
    for (const auto& [op, names] : folded_) log_.matched_each(fmt::format("{} of constants", op), names);
  }

 private:
  bool has_constant_inputs(const Node& node) const {
    for (ValueId input : node.inputs) {
      if (input == kNone) continue;
      const auto& constant = network_.value(input).constant;
      if (!constant || (!constant->data && constant->bytes() > 0)) return false;
    }
    return true;
  }

  void replace(ValueId old_value, Tensor tensor) {
    const std::string name = network_.value(old_value).name;
    network_.replace_uses(old_value, network_.add_constant(name, std::move(tensor)));
  }

  bool fold_known(const Node& node) {
    std::vector<Tensor> tensors;
    for (ValueId output : node.outputs) {
      auto tensor = known_tensor(network_.value(output));
      if (!tensor) return false;
      tensors.push_back(std::move(*tensor));
    }
    for (size_t i = 0; i < tensors.size(); ++i) replace(node.outputs[i], std::move(tensors[i]));
    known_.push_back(node.name);
    return true;
  }

  // Kernels read half constants where they take floats: a cast to f32 would only double them. A network output is f32 by contract.
  bool keep_half(const Node& node) {
    if (node.op != "cast" || is_output(network_, node.outputs[0])) return false;
    const DType from = network_.value(node.inputs[0]).dtype;
    if ((from != DType::f16 && from != DType::bf16) || network_.value(node.outputs[0]).dtype != DType::f32) return false;
    network_.replace_uses(node.outputs[0], node.inputs[0]);
    half_.push_back(node.name);
    return true;
  }

  // A large weight [N, K] that is transposed for products alone: fuse_linear wants [N, K].
  bool is_read_as_it_lies(const Node& node) const {
    const Tensor& first = *network_.value(node.inputs[0]).constant;
    if (node.op != "transpose" || first.shape.rank() != 2 || first.bytes() <= kFreeBytes || is_output(network_, node.outputs[0]))
      return false;
    for (NodeId reader : network_.consumers(node.outputs[0])) {
      const Node& product = network_.node(reader);
      if (product.op != "matmul" || product.input(1) != node.outputs[0]) return false;
    }
    return true;
  }

  std::string too_large(const Node& node) const {
    size_t bytes = 0;
    for (ValueId output : node.outputs) {
      for (const Dim& dim : network_.value(output).shape) {
        if (!dim.is_fixed()) return {};  // an unknown extent of a constant: small, or found out by evaluation
      }
      bytes += static_cast<size_t>(elements_of(network_, std::array{output})) * dtype_size(network_.value(output).dtype);
    }
    if (bytes <= kFreeBytes || elements_of(network_, node.outputs) <= elements_of(network_, node.inputs)) return {};
    return fmt::format("a result of {:.1f} MB from less", static_cast<double>(bytes) / 1e6);
  }

  void fold(const Node& node) {
    // A shared weight that several nodes rework alike is reworked once.
    auto& results = done_[node_key(node)];
    if (results.empty()) {
      std::vector<Tensor> tensors = evaluate(network_, node.outputs, {});
      for (size_t i = 0; i < tensors.size(); ++i)
        results.push_back(network_.add_constant(network_.value(node.outputs[i]).name, std::move(tensors[i])));
    }
    for (size_t i = 0; i < results.size(); ++i) network_.replace_uses(node.outputs[i], results[i]);
    folded_[node.op].push_back(node.name);
  }

  Network& network_;
  PassLog& log_;
  std::map<std::string, std::vector<ValueId>> done_;
  std::vector<std::string> known_, half_;
  std::map<std::string, std::vector<std::string>> folded_;
};

}  // namespace

void fold_constants(Network& network, const PassOptions&, PassLog& log) { Folding(network, log).run(); }

}  // namespace bertie
