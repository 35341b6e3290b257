#include "tests/support/op_runner.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "base/float16.h"
#include "base/float_element.h"

namespace bertie::test {
namespace {

// Memory filled with float NaNs between two guards.
class GuardedBytes {
 public:
  explicit GuardedBytes(size_t bytes) : bytes_(bytes), storage_((bytes + 2 * kGuard + kAlignment) / sizeof(uint32_t) + 1, kNan) {
    const size_t misaligned = reinterpret_cast<uintptr_t>(storage_.data()) % kAlignment;
    begin_ = reinterpret_cast<std::byte*>(storage_.data()) + (kAlignment - misaligned) % kAlignment + kGuard;
  }
  std::byte* data() const { return begin_; }
  size_t size() const { return bytes_; }
  void check(const std::string& what) const {
    for (const std::byte* guard : {begin_ - kGuard, begin_ + (bytes_ + 3) / 4 * 4}) {
      for (size_t i = 0; i + 4 <= kGuard - 4; i += 4) {
        uint32_t word = 0;
        std::memcpy(&word, guard + i, 4);
        if (word != kNan) throw std::logic_error(what + ": written outside its bounds");
      }
    }
  }

 private:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kGuard = 256;
  static constexpr uint32_t kNan = 0x7fc0dead;
  size_t bytes_;
  std::vector<uint32_t> storage_;
  std::byte* begin_;
};

template <typename T, typename U, typename Convert>
Tensor make_tensor(DType dtype, const Shape& shape, const std::vector<U>& values, Convert convert) {
  if (shape.elements() != static_cast<int64_t>(values.size()))
    throw std::logic_error("test tensor: values do not fill the shape");
  std::shared_ptr<T[]> storage(new T[values.size() + 1]);
  std::transform(values.begin(), values.end(), storage.get(), convert);
  return {dtype, shape, std::shared_ptr<const void>(storage, storage.get())};
}

}  // namespace

Tensor tensor_of(const Shape& shape, const std::vector<float>& values, DType dtype) {
  switch (dtype) {
    case DType::f16: return make_tensor<uint16_t>(dtype, shape, values, float_to_f16);
    case DType::bf16: return make_tensor<uint16_t>(dtype, shape, values, float_to_bf16);
    case DType::f64: return make_tensor<double>(dtype, shape, values, [](float value) { return static_cast<double>(value); });
    default: return make_tensor<float>(dtype, shape, values, [](float value) { return value; });
  }
}

Tensor indices(const Shape& shape, const std::vector<int64_t>& values, DType dtype) {
  if (dtype == DType::i64) return make_tensor<int64_t>(dtype, shape, values, [](int64_t value) { return value; });
  return make_tensor<int32_t>(dtype, shape, values, [](int64_t value) { return static_cast<int32_t>(value); });
}

Tensor random_tensor(std::mt19937& random, const Shape& shape, DType dtype, float scale, float shift) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (float& value : values) value = normal(random) * scale + shift;
  return tensor_of(shape, values, dtype);
}

BuiltCase::BuiltCase(const OpCase& op_case) {
  std::vector<ValueId> inputs;
  for (const Operand& operand : op_case.inputs) {
    const Tensor& tensor = operand.tensor;
    views.push_back(tensor.view());
    if (!tensor.data) {
      inputs.push_back(kNone);
    } else if (operand.constant) {
      inputs.push_back(network.add_constant("constant", tensor));
    } else {
      inputs.push_back(network.add_input("input", tensor.dtype, SymbolicShape(tensor.shape.begin(), tensor.shape.end())));
    }
  }
  output = network.add_node(op_case.op, inputs, op_case.attributes).at(0);
  for (int64_t length : op_case.lengths) {
    starts.push_back(starts.back() + static_cast<int32_t>(length));
    batch.longest = std::max(batch.longest, length);
  }
  batch.tokens = starts.back();
  batch.sequences = static_cast<int64_t>(op_case.lengths.size());
  batch.cumulative_lengths = starts.data();
  batch.columns = op_case.columns.empty() ? nullptr : op_case.columns.data();
  batch.queries_only = op_case.queries_only.empty() ? nullptr : op_case.queries_only.data();
  // A padded [batch, sequence, ...] tensor has the limits of its shape.
  if (op_case.lengths.empty() && views[0].shape.rank() == 3) {
    batch.sequences = views[0].shape[0];
    batch.longest = views[0].shape[1];
    batch.tokens = batch.sequences * batch.longest;
  }
  std::vector<int64_t> extents;
  for (const Dim& dim : network.value(output).shape)
    extents.push_back(dim.is_fixed() ? dim.size : dim == Dim("tokens") ? batch.tokens : batch.sequences);
  shape = Shape(std::span<const int64_t>(extents));
}

OpResult run_op(const Backend& backend, const OpCase& op_case, int threads) {
  const BuiltCase built(op_case);
  const Network& network = built.network;
  const Node& node = built.node();
  const PackedBatch& batch = built.batch;
  std::vector<TensorView> views = built.views;
  OpResult result;
  result.shape = built.shape;

  ThreadPool pool(threads);
  for (const KernelEntry& entry : backend.kernels()) {
    if (entry.op != op_case.op) continue;
    PrepareResult prepared = entry.prepare({network, node, pool});
    if (const Refusal* refusal = std::get_if<Refusal>(&prepared)) {
      if (!refusal->reason.empty()) result.refusal = refusal->reason;
      continue;
    }
    result.kernel = entry.name;
    const Kernel& kernel = *std::get<Preparation>(prepared).kernel;
    for (size_t i = 0; i < views.size(); ++i) {
      if (op_case.inputs[i].constant && !kernel.reads_constant(i)) views[i].data = nullptr;
    }
    const size_t elements = static_cast<size_t>(result.shape.elements());
    const DType dtype = network.value(built.output).dtype;
    const GuardedBytes out(elements * dtype_size(dtype));
    const GuardedBytes workspace(kernel.workspace_bytes({batch.tokens, batch.sequences, batch.longest, batch.rows}, threads));
    const MutableTensorView outputs[] = {{out.data(), dtype, result.shape}};
    kernel.run({views, outputs, batch, {workspace.data(), workspace.size()}, pool});
    out.check(std::string(entry.name) + " output");
    workspace.check(std::string(entry.name) + " workspace");
    result.values.resize(elements);
    for (size_t i = 0; i < elements; ++i) result.values[i] = float_element(TensorView(outputs[0]), i);
    return result;
  }
  return result;
}

}  // namespace bertie::test
