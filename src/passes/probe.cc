#include "passes/probe.h"

#include <cstring>
#include <random>

#include "base/error.h"
#include "base/float16.h"
#include "network/dim.h"
#include "reference/evaluate.h"

namespace bertie {

Extents::Extents(const Dim& batch_dim, const Dim& sequence_dim, int64_t batch, int64_t sequence)
    : batch_dim(batch_dim),
      sequence_dim(sequence_dim),
      batch(batch_dim.is_fixed() ? batch_dim.size : batch),
      sequence(sequence_dim.is_fixed() ? sequence_dim.size : sequence) {}

std::optional<Shape> Extents::of(const SymbolicShape& shape) const {
  std::vector<int64_t> extents;
  for (const Dim& dim : shape) {
    // Products ("12*batch") too: the two symbols are divided out, each once.
    Dim rest = dim;
    int64_t extent = 1;
    if (const auto other = batch_dim.is_fixed() ? std::nullopt : divide(rest, batch_dim)) {
      rest = *other;
      extent *= batch;
    }
    if (const auto other = sequence_dim.is_fixed() ? std::nullopt : divide(rest, sequence_dim)) {
      rest = *other;
      extent *= sequence;
    }
    if (!rest.is_fixed()) return std::nullopt;
    extents.push_back(extent * rest.size);
  }
  if (extents.size() > static_cast<size_t>(Shape::kMaxRank)) return std::nullopt;
  return Shape(extents);
}

Tensor make_tensor(DType dtype, const Shape& shape, const std::function<double(int64_t)>& number) {
  Tensor tensor{dtype, shape, nullptr};
  std::shared_ptr<std::byte[]> storage(new std::byte[tensor.bytes() + 1]);
  const auto store = [&](int64_t i, auto value) {
    std::memcpy(storage.get() + static_cast<size_t>(i) * sizeof value, &value, sizeof value);
  };
  for (int64_t i = 0; i < shape.elements(); ++i) {
    const double value = number(i);
    switch (dtype) {
      case DType::f32: store(i, static_cast<float>(value)); break;
      case DType::f64: store(i, value); break;
      case DType::f16: store(i, float_to_f16(static_cast<float>(value))); break;
      case DType::bf16: store(i, float_to_bf16(static_cast<float>(value))); break;
      case DType::i64: store(i, static_cast<int64_t>(value)); break;
      case DType::i32: store(i, static_cast<int32_t>(value)); break;
      case DType::i8:
      case DType::u8:
      case DType::boolean: store(i, static_cast<uint8_t>(value)); break;
    }
  }
  tensor.data = std::shared_ptr<const void>(storage, storage.get());
  return tensor;
}

std::vector<bool> probe_mask(int64_t batch, int64_t sequence, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<bool> attended;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t certain = static_cast<int64_t>(random() % static_cast<uint32_t>(sequence));
    for (int64_t k = 0; k < sequence; ++k) attended.push_back(k == certain || random() % 3 != 0);
  }
  return attended;
}

std::vector<bool> all_of_three() {
  std::vector<bool> attended;
  for (int b = 0; b < 8; ++b) {
    for (int k = 0; k < 3; ++k) attended.push_back((b >> k & 1) != 0);
  }
  return attended;
}

std::optional<std::vector<Tensor>> try_evaluate(const Network& network, std::span<const ValueId> wanted,
                                                const std::map<ValueId, Tensor>& inputs) {
  try {
    return evaluate(network, wanted, inputs);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<Tensor> try_evaluate(const Network& network, ValueId wanted, const std::map<ValueId, Tensor>& inputs) {
  auto found = try_evaluate(network, std::span(&wanted, 1), inputs);
  if (!found) return std::nullopt;
  return std::move(found->front());
}

std::map<ValueId, Tensor> probe_inputs(const Network& network, const Extents& extents, ValueId mask,
                                       const std::vector<bool>& attended) {
  std::map<ValueId, Tensor> inputs;
  for (ValueId id : network.inputs()) {
    const Value& input = network.value(id);
    const auto shape = extents.of(input.shape);
    if (!shape) continue;
    inputs[id] =
        make_tensor(input.dtype, *shape, [&](int64_t i) { return id == mask && attended[static_cast<size_t>(i)] ? 1.0 : 0.0; });
  }
  return inputs;
}

}  // namespace bertie
