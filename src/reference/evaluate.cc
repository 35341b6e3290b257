#include "reference/evaluate.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <utility>

#include "backend/kernel.h"
#include "base/error.h"
#include "network/concrete_rule.h"
#include "network/dim.h"
#include "reference/backend.h"

namespace bertie {
namespace {

std::shared_ptr<void> allocate(size_t bytes) {
  constexpr size_t kAlignment = 64;
  void* memory = std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment);  // never of size 0
  if (!memory)
    fail(ErrorCode::out_of_memory, "evaluation: no memory for a tensor of {:.1f} MB", static_cast<double>(bytes) / 1e6);
  return {memory, std::free};
}

class Evaluation {
 public:
  Evaluation(const Network& network, const std::map<ValueId, Tensor>& inputs) : network_(network), pool_(1) {
    for (const auto& [id, tensor] : inputs) give(id, tensor);
  }

  std::vector<Tensor> run(std::span<const ValueId> wanted) {
    for (ValueId id : wanted) {
      if (!plan(id)) fail(ErrorCode::invalid_argument, "evaluation: '{}' needs input '{}'", network_.value(id).name, missing_);
      ++readers_[id];
    }
    for (NodeId id : order_) run_node(network_.node(id));
    std::vector<Tensor> results;
    for (ValueId id : wanted) results.push_back(tensors_.at(id));
    return results;
  }

 private:
  void give(ValueId id, const Tensor& tensor) {
    const Value& value = network_.value(id);
    const auto reject = [&](std::string_view why) {
      fail(ErrorCode::invalid_argument, "input '{}': {} {} given, {} {} declared{}", value.name, dtype_name(tensor.dtype),
           tensor.shape.to_string(), dtype_name(value.dtype), to_string(value.shape), why);
    };
    if (tensor.dtype != value.dtype || static_cast<size_t>(tensor.shape.rank()) != value.shape.size()) reject("");
    for (size_t axis = 0; axis < value.shape.size(); ++axis) {
      const Dim& dim = value.shape[axis];
      const int64_t extent = tensor.shape[static_cast<int>(axis)];
      if (dim.is_fixed()) {
        if (dim.size != extent) reject("");
        continue;
      }
      const auto [known, added] = symbols_.emplace(dim.symbol, extent);
      if (!added && known->second != extent) reject(fmt::format(", and {} is {} elsewhere", dim.symbol, known->second));
    }
    tensors_[id] = tensor;
  }

  // Puts the nodes that make `id` into order_, producers first. False where a network input that it needs is missing.
  // Depth-first with a stack of its own: graphs may be deep.
  bool plan(ValueId root) {
    std::vector<std::pair<ValueId, size_t>> stack{{root, 0}};
    while (!stack.empty()) {
      auto& [id, next] = stack.back();
      if (next == 0 && settle(id)) {
        stack.pop_back();
        continue;
      }
      const NodeId producer = network_.value(id).producer;
      const Node& node = network_.node(producer);
      if (next > 0 && node.inputs[next - 1] != kNone && !available_.at(node.inputs[next - 1])) {
        available_[id] = stand_in(id);
        stack.pop_back();
        continue;
      }
      if (next < node.inputs.size()) {
        const ValueId input = node.inputs[next++];
        if (input != kNone) stack.emplace_back(input, 0);
        continue;
      }
      if (planned_.insert(producer).second) {
        order_.push_back(producer);
        for (ValueId input : node.inputs) {
          if (input != kNone) ++readers_[input];
        }
      }
      available_[id] = true;
      stack.pop_back();
    }
    return available_.at(root);
  }

  // Whether plan() is done with a value without looking at its producer.
  bool settle(ValueId id) {
    if (available_.contains(id)) return true;
    const Value& value = network_.value(id);
    if (value.constant && !tensors_.contains(id)) tensors_[id] = value.constant->row_major();
    if (tensors_.contains(id)) {
      available_[id] = true;
    } else if (value.producer == kNone) {
      missing_ = value.name;
      available_[id] = false;
    } else if (const Node& node = network_.node(value.producer);
               (node.op == "shape" || node.op == "size") && !tensors_.contains(node.inputs[0]) && stand_in(id)) {
      available_[id] = true;  // and nothing is computed only to be measured
    } else {
      return false;
    }
    return true;
  }

  // The elements of a computed shape from its symbols, where they are bound.
  bool stand_in(ValueId id) {
    const Value& value = network_.value(id);
    if (!value.elements || !is_index(value.dtype)) return false;
    std::vector<int64_t> numbers;
    for (const Dim& dim : *value.elements) {
      const auto number = bertie::evaluate(dim, symbols_);
      if (!number) return false;
      numbers.push_back(*number);
    }
    const Shape shape = value.shape.empty() ? Shape() : Shape({static_cast<int64_t>(numbers.size())});
    if (value.dtype == DType::i64) {
      tensors_[id] = Tensor::from_int64s(shape, numbers);
    } else {
      auto bytes = allocate(numbers.size() * sizeof(int32_t));
      std::transform(numbers.begin(), numbers.end(), static_cast<int32_t*>(bytes.get()),
                     [](int64_t number) { return static_cast<int32_t>(number); });
      tensors_[id] = {DType::i32, shape, std::move(bytes)};
    }
    return true;
  }

  void run_node(const Node& node) {
    std::vector<TensorView> inputs;
    for (ValueId id : node.inputs) inputs.push_back(id == kNone ? TensorView{} : tensors_.at(id).view());
    if (node.op == "pack_rows" || ((node.op == "attention" || node.op == "pool") && inputs[0].shape.rank() == 2))
      fail(ErrorCode::unsupported, "evaluation: {} '{}' needs a packed batch", node.op, node.name);
    ConcreteRule rule(network_, node);
    const auto results = rule.infer(inputs);
    std::vector<MutableTensorView> outputs;
    std::vector<Tensor> tensors;
    for (const ConcreteOutput& result : results) {
      Tensor& tensor = tensors.emplace_back(Tensor{result.dtype, result.shape, nullptr});
      if (is_view(node) && inputs[0].dtype == result.dtype) {
        tensor.data = tensors_.at(node.inputs[0]).data;
        continue;
      }
      std::shared_ptr<void> memory = allocate(tensor.bytes());
      outputs.push_back({memory.get(), result.dtype, result.shape});
      tensor.data = std::move(memory);
    }
    if (!outputs.empty()) run_kernel(node, inputs, outputs);
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (readers_.contains(node.outputs[i])) tensors_[node.outputs[i]] = std::move(tensors[i]);
    }
    for (ValueId id : node.inputs) {
      if (id != kNone && --readers_.at(id) == 0) tensors_.erase(id);
    }
  }

  // Ops whose result has the bytes of the first input.
  static bool is_view(const Node& node) {
    return node.op == "reshape" || node.op == "squeeze" || node.op == "unsqueeze" || node.op == "cast" ||
           (node.op == "unary" && node.text("function") == "identity");
  }

  void run_kernel(const Node& node, std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs) {
    PackedBatch batch;
    const Shape& first = inputs[0].shape;
    batch.sequences = first.rank() > 0 ? first[0] : 1;
    batch.longest = first.rank() > 1 ? first[1] : 1;
    batch.tokens = batch.rows = batch.sequences * batch.longest;
    for (const KernelEntry& entry : reference_backend().kernels()) {
      if (entry.op != node.op) continue;
      PrepareResult prepared = entry.prepare({network_, node, pool_});
      if (!std::holds_alternative<Preparation>(prepared)) continue;
      const Kernel& kernel = *std::get<Preparation>(prepared).kernel;
      const size_t bytes = kernel.workspace_bytes({batch.tokens, batch.sequences, batch.longest, batch.rows}, pool_.threads());
      const auto workspace = allocate(bytes);
      try {
        kernel.run({inputs, outputs, batch, {static_cast<std::byte*>(workspace.get()), bytes}, pool_});
      } catch (const Error& error) {
        fail(error.code(), "{} '{}': {}", node.op, node.name, error.what());
      }
      return;
    }
    fail(ErrorCode::unsupported, "{} '{}': no reference kernel takes it", node.op, node.name);
  }

  const Network& network_;
  ThreadPool pool_;
  std::map<std::string, int64_t, std::less<>> symbols_;
  std::map<ValueId, Tensor> tensors_;
  std::map<ValueId, bool> available_;  // of the values that plan() has seen
  std::map<ValueId, int> readers_;     // steps still to run, and the caller
  std::vector<NodeId> order_;
  std::set<NodeId> planned_;  // the same
  std::string missing_;       // the last input that was asked for and not given
};

}  // namespace

std::vector<Tensor> evaluate(const Network& network, std::span<const ValueId> wanted, const std::map<ValueId, Tensor>& inputs) {
  return Evaluation(network, inputs).run(wanted);
}

}  // namespace bertie
