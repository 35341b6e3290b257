// Inputs of any name, type and shape, some of them sound, for a network that runs packed and for one that runs padded. What is refused is refused
// with an error; what runs gives each sequence the bits that it has alone.
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "base/bytes_fuzz.h"
#include "base/error.h"
#include "bertie/engine.h"

namespace {

using namespace bertie;

constexpr int64_t kVocabulary = 30, kHidden = 16, kHeads = 2, kPositions = 12;

Tensor weight(const Shape& shape, float scale) {
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  uint32_t state = 12345;
  for (float& value : values) {
    state = state * 1664525 + 1013904223;
    value = scale * (static_cast<float>(state >> 8) / 8388608.0f - 1);
  }
  return Tensor::from_floats(shape, values);
}

// A layer of an encoder. `padded`: behind a softmax over the sequence, padding and all, which no pass packs.
std::shared_ptr<const Engine> engine(bool padded) {
  Network network;
  const SymbolicShape rows = {"batch", "sequence"};
  const ValueId ids = network.add_input("input_ids", DType::i64, rows),
                mask = network.add_input("attention_mask", DType::i64, rows),
                types = network.add_input("token_type_ids", DType::i64, rows),
                positions = network.add_input("position_ids", DType::i64, rows);
  const auto constant = [&](const Shape& shape, float scale) { return network.add_constant("weight", weight(shape, scale)); };
  const auto table = [&](int64_t height, ValueId of) { return network.add_embedding(constant({height, kHidden}, 1), of); };
  const auto linear = [&](ValueId x) {
    return network.add_linear(x, constant({kHidden, kHidden}, 0.4f), constant({kHidden}, 0.1f));
  };
  ValueId x = network.add_elementwise("add", network.add_elementwise("add", table(kVocabulary, ids), table(2, types)),
                                      table(kPositions, positions));
  if (padded) x = network.add_softmax(x, 1);
  x = network.add_elementwise("add", network.add_attention(linear(x), linear(x), linear(x), mask, kNone, kHeads, 0.4), x);
  network.add_output("last_hidden_state", x);
  network.add_output("mean", network.add_pool(x, mask, "mean"));
  EngineOptions options;
  options.threads = 1;
  return Engine::build(network, options);
}

Tensor any_tensor(Bytes& bytes, int64_t batch, int64_t width) {
  static constexpr std::array<int64_t, 6> kExtents = {0, 1, 2, 7, 13, 40};
  const DType dtype =
      bytes.choose(std::array{DType::i64, DType::i64, DType::i64, DType::i32, DType::boolean, DType::u8, DType::f32, DType::f64});
  Shape shape = {batch, width};
  const uint8_t kind = bytes.take<uint8_t>() % 16;
  if (kind == 0) shape = {bytes.choose(kExtents), bytes.choose(kExtents)};
  if (kind == 1) shape = {width};
  if (kind == 2) shape = {};
  if (kind == 3) shape = {batch, width, bytes.choose(kExtents)};
  if (kind == 4) shape = {1, width};
  const auto count = static_cast<size_t>(shape.elements());
  std::shared_ptr<std::byte[]> storage(new std::byte[count * dtype_size(dtype) + 1]());
  const uint8_t most = bytes.choose(std::array<uint8_t, 6>{1, 1, 2, 12, 30, 255});
  for (size_t i = 0; i < count; ++i) {
    const auto number = static_cast<int64_t>(bytes.take<uint8_t>() % (most + 1)) - (most == 255 ? 100 : 0);
    std::byte* const to = storage.get() + i * dtype_size(dtype);
    const auto put = [&](auto value) { std::memcpy(to, &value, sizeof value); };
    if (dtype == DType::i64) put(number);
    if (dtype == DType::i32) put(static_cast<int32_t>(number));
    if (dtype == DType::boolean) put(number != 0);
    if (dtype == DType::u8) put(static_cast<uint8_t>(number));
    if (dtype == DType::f32) put(static_cast<float>(number));
    if (dtype == DType::f64) put(static_cast<double>(number));
  }
  return {dtype, shape, std::shared_ptr<const void>(storage, storage.get())};
}

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

// Row `index` of what has as many rows as there are sequences; what has one row is for all of them.
NamedTensor row_of(const NamedTensor& input, int64_t index) {
  const Tensor& from = input.tensor;
  if (from.shape[0] == 1) return input;
  Shape shape = from.shape;
  shape[0] = 1;
  const size_t bytes = static_cast<size_t>(shape.elements()) * dtype_size(from.dtype);
  const auto* const start = static_cast<const std::byte*>(from.data.get()) + static_cast<size_t>(index) * bytes;
  return {input.name, {from.dtype, shape, std::shared_ptr<const void>(from.data, start)}, input.origin};
}

void run(TensorSession& session, Bytes bytes) {
  static constexpr std::array<const char*, 7> kNames = {
      "input_ids", "attention_mask", "token_type_ids", "position_ids", "input_ids", "", "labels"};
  const int64_t batch = bytes.choose(std::array<int64_t, 4>{1, 2, 3, 0}),
                width = bytes.choose(std::array<int64_t, 4>{7, 1, 12, 0});
  std::vector<NamedTensor> inputs;
  const uint8_t given = bytes.take<uint8_t>();
  for (size_t i = 0; i < kNames.size(); ++i) {
    const bool usual = i == 0 || i == 1;
    if (((given >> i & 1) != 0) != usual) inputs.push_back({kNames[i], any_tensor(bytes, batch, width), ""});
  }
  std::vector<NamedTensor> all;
  try {
    all = session.run(inputs);
  } catch (const Error& error) {
    require(error.code() == ErrorCode::invalid_argument || error.code() == ErrorCode::limit_exceeded, "an error of another kind");
    return;
  }
  require(all.size() == 2, "two outputs");
  const Shape& ids = inputs[0].tensor.shape;
  require(all[0].tensor.shape == Shape{ids[0], ids[1], kHidden} && all[1].tensor.shape == Shape{ids[0], kHidden},
          "shapes of outputs");
  for (const NamedTensor& output : all) {
    for (int64_t i = 0; i < output.tensor.shape.elements(); ++i)
      require(std::isfinite(output.tensor.view().as<float>()[i]), "finite numbers");
  }
  for (int64_t index = 0; index < ids[0] && ids[0] > 1; ++index) {
    std::vector<NamedTensor> own;
    for (const NamedTensor& input : inputs) own.push_back(row_of(input, index));
    const std::vector<NamedTensor> alone = session.run(own);
    for (size_t i = 0; i < all.size(); ++i) {
      const NamedTensor row = row_of(all[i], index);
      require(std::memcmp(row.tensor.data.get(), alone[i].tensor.data.get(), row.tensor.view().bytes()) == 0,
              "a sequence's own bits");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static TensorSession packed(engine(false)), padded(engine(true));
  Bytes bytes(data, size);
  run(bytes.take<uint8_t>() % 2 ? padded : packed, bytes);
  return 0;
}
