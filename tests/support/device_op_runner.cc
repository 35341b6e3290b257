#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "base/float_element.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

constexpr size_t kGuard = 256;
constexpr uint8_t kNan = 0xff;  // every float of such bytes is a NaN

// Memory of a device filled with NaNs, then with some bytes.
class DeviceBytes {
 public:
  DeviceBytes(const std::shared_ptr<Device>& device, Stream& stream, size_t bytes, const void* from = nullptr)
      : stream_(stream), bytes_(bytes), memory_(device, bytes + kGuard, "a test") {
    stream.fill(memory_.data(), kNan, bytes + kGuard);
    if (from) stream.copy(memory_.data(), from, bytes);
    stream.synchronize();
  }
  std::byte* data() const { return memory_.data(); }
  size_t size() const { return bytes_; }
  // Throws std::logic_error where something was written behind the end.
  std::vector<std::byte> read(const std::string& what) const {
    std::vector<std::byte> bytes(bytes_ + kGuard);
    stream_.copy(bytes.data(), memory_.data(), bytes.size());
    stream_.synchronize();
    if (std::any_of(bytes.begin() + static_cast<int64_t>(bytes_), bytes.end(), [](std::byte b) { return b != std::byte{kNan}; }))
      throw std::logic_error(what + ": written outside its bounds");
    bytes.resize(bytes_);
    return bytes;
  }

 private:
  Stream& stream_;
  size_t bytes_;
  DeviceBuffer memory_;
};

// As the engine lists them: of whole sequences, or of the rows wanted.
std::vector<QueryTile> tiles_of(const PackedBatch& batch, const TensorView& rows, int64_t block) {
  std::vector<QueryTile> tiles;
  const auto sequence_of = [&](int32_t row) {
    int64_t b = 0;
    while (b + 1 < batch.sequences && batch.cumulative_lengths[b + 1] <= row) ++b;
    return b;
  };
  const auto add = [&](int64_t begin, int64_t count, int64_t sequence) {
    const int64_t first_key = batch.first_key(sequence);
    tiles.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(count), static_cast<int32_t>(first_key),
                     static_cast<int32_t>(batch.cumulative_lengths[sequence + 1] - first_key)});
  };
  if (rows.data) {
    for (int64_t i = 0; i < rows.shape[0]; ++i) add(i, 1, sequence_of(rows.as<int32_t>()[i]));
    return tiles;
  }
  for (int64_t b = 0; b < batch.sequences; ++b) {
    for (int64_t row = batch.cumulative_lengths[b]; row < batch.cumulative_lengths[b + 1]; row += block)
      add(row, std::min<int64_t>(block, batch.cumulative_lengths[b + 1] - row), b);
  }
  return tiles;
}

}  // namespace

OpResult run_device_op(const Backend& backend, const std::shared_ptr<Device>& device, const OpCase& op_case,
                       const std::string& precision) {
  BuiltCase built(op_case);
  Network& network = built.network;
  network.mutable_node(network.value(built.output).producer).attributes["precision"] = precision;
  const Node& node = built.node();
  std::vector<DType> stored;
  for (size_t i = 0; i < network.value_count(); ++i) stored.push_back(network.value(static_cast<ValueId>(i)).dtype);
  OpResult result;
  result.shape = built.shape;
  ThreadPool pool(1);
  const auto stream = device->make_stream();
  for (const KernelEntry& entry : backend.kernels()) {
    if (entry.op != op_case.op) continue;
    PrepareResult prepared = entry.prepare({network, node, pool, {}, false, device, stored});
    if (const Refusal* refusal = std::get_if<Refusal>(&prepared)) {
      if (!refusal->reason.empty()) result.refusal = refusal->reason;
      continue;
    }
    result.kernel = entry.name;
    const Kernel& kernel = *std::get<Preparation>(prepared).kernel;
    std::vector<std::unique_ptr<DeviceBytes>> memory;
    const auto put = [&](const void* from, size_t bytes) {
      return memory.emplace_back(std::make_unique<DeviceBytes>(device, *stream, bytes, from))->data();
    };
    std::vector<TensorView> views = built.views;
    for (size_t i = 0; i < views.size(); ++i) {
      if (views[i].data) views[i].data = op_case.inputs[i].constant ? nullptr : put(views[i].data, views[i].bytes());
    }
    PackedBatch batch = built.batch;
    const auto ids = [&](const int32_t* from, int64_t count) {
      return reinterpret_cast<const int32_t*>(put(from, static_cast<size_t>(count) * sizeof(int32_t)));
    };
    const TensorView rows = built.views.size() > 5 && op_case.op == "attention" ? built.views[5] : TensorView{};
    const std::vector<QueryTile> tiles =
        kernel.query_block() > 0 ? tiles_of(built.batch, rows, kernel.query_block()) : std::vector<QueryTile>();
    const int32_t counts[] = {static_cast<int32_t>(batch.tokens), static_cast<int32_t>(batch.sequences),
                              static_cast<int32_t>(rows.data ? rows.shape[0] : batch.rows), static_cast<int32_t>(tiles.size()),
                              INT32_MAX};
    const int32_t* numbers = ids(counts, std::size(counts));
    const auto* list = reinterpret_cast<const QueryTile*>(put(tiles.data(), tiles.size() * sizeof(QueryTile)));
    batch.cumulative_lengths = ids(built.starts.data(), static_cast<int64_t>(built.starts.size()));
    if (batch.columns) batch.columns = ids(op_case.columns.data(), batch.tokens);
    if (batch.queries_only) batch.queries_only = ids(op_case.queries_only.data(), batch.sequences);

    std::vector<std::unique_ptr<DeviceBytes>> out;
    std::vector<MutableTensorView> outputs;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const Value& value = network.value(node.outputs[i]);
      std::vector<int64_t> extents;
      for (const Dim& dim : value.shape) extents.push_back(dim.size);
      const Shape shape = i == 0 ? result.shape : Shape{std::span<const int64_t>(extents)};
      const DType kept = kernel.stored(i, value.dtype);
      const size_t bytes = static_cast<size_t>(shape.elements()) * dtype_size(kept);
      outputs.push_back({out.emplace_back(std::make_unique<DeviceBytes>(device, *stream, bytes))->data(), kept, shape});
    }
    const DeviceBytes workspace(device, *stream,
                                kernel.workspace_bytes({batch.tokens, batch.sequences, batch.longest, batch.rows}, 1));
    // More tiles than are live, as a bucket has.
    const DeviceBatch seen{*stream,
                           numbers,
                           numbers + 1,
                           numbers + 2,
                           list,
                           static_cast<int64_t>(tiles.size()) + 3,
                           numbers + 3,
                           const_cast<int32_t*>(numbers + 4),
                           0};
    kernel.run({views, outputs, batch, {workspace.data(), workspace.size()}, pool, &seen});
    stream->synchronize();
    for (const auto& memory : out) result.outputs.push_back(memory->read(std::string(entry.name) + " output"));
    workspace.read(std::string(entry.name) + " workspace");
    const TensorView first{result.outputs[0].data(), outputs[0].dtype, result.shape};
    if (first.dtype != DType::f32 && first.dtype != DType::f16 && first.dtype != DType::bf16) return result;
    result.values.resize(static_cast<size_t>(result.shape.elements()));
    for (size_t i = 0; i < result.values.size(); ++i) result.values[i] = float_element(first, i);
    return result;
  }
  return result;
}

}  // namespace bertie::test
