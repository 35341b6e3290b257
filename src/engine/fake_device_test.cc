#include "engine/fake_device_test.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "backend/batch_shape.h"
#include "base/error.h"
#include "base/float16.h"
#include "network/op.h"
#include "reference/backend.h"

namespace bertie {
namespace {

constexpr size_t kAlignment = 256;
constexpr int kPoison = 0xff;  // every float of such bytes is a NaN, every id -1

using WorkList = std::vector<std::function<void()>>;

class FakeGraph final : public DeviceGraph {
 public:
  FakeGraph(FakeDevice& device, WorkList own) : work(std::move(own)), device_(device) { ++device_.graphs; }
  ~FakeGraph() override { --device_.graphs; }
  const WorkList work;

 private:
  FakeDevice& device_;
};

class FakeTimeline final : public Timeline {
 public:
  explicit FakeTimeline(size_t places) : at(places, -1) {}
  double milliseconds(size_t from, size_t to) const override { return static_cast<double>(at[to] - at[from]); }
  std::vector<int64_t> at;  // works done before
};

class FakeStream final : public Stream {
 public:
  explicit FakeStream(FakeDevice& device) : device_(device) { waiting_.reserve(256); }

  void put(std::function<void()> work) {
    device_.check_alive("a launch");
    (capturing_ ? captured_ : waiting_).push_back(std::move(work));
  }
  void copy(void* to, const void* from, size_t bytes) override {
    device_.check_alive("a copy");
    for (const void* memory : {static_cast<const void*>(to), from}) {
      if (device_.fault.empty() && !device_.owns(memory, bytes) && !device_.owns_pinned(memory, bytes))
        device_.fault = "a copy of memory that is neither the device's nor pinned";
    }
    put([this, to, from, bytes] {
      std::memcpy(to, from, bytes);
      ++device_.copies;
    });
  }
  void fill(void* to, uint8_t byte, size_t bytes) override {
    put([to, byte, bytes] { std::memset(to, byte, bytes); });
  }
  void synchronize() override {
    device_.check_alive("a run");
    if (capturing_) device_.fault = "a wait while work is recorded";
    ++device_.waits;
    for (const auto& work : waiting_) {
      work();
      ++done_;
    }
    waiting_.clear();
  }
  void begin_capture() override {
    device_.check_alive("recording a graph");
    capturing_ = true;
  }
  std::unique_ptr<DeviceGraph> end_capture() override {
    capturing_ = false;
    ++device_.recorded;
    return std::make_unique<FakeGraph>(device_, std::exchange(captured_, {}));
  }
  void abandon_capture() noexcept override {
    capturing_ = false;
    captured_.clear();
  }
  void launch(const DeviceGraph& graph) override {
    device_.check_alive("launching a graph");
    ++device_.launched;
    put([&own = static_cast<const FakeGraph&>(graph)] {
      for (const auto& work : own.work) work();
    });
  }
  std::unique_ptr<Timeline> make_timeline(size_t places) override { return std::make_unique<FakeTimeline>(places); }
  void mark(Timeline& timeline, size_t place) override {
    put([this, &at = static_cast<FakeTimeline&>(timeline).at[place]] { at = done_--; });  // is no work itself
  }
  void push_range(const char* name) override { device_.ranges.emplace_back(name); }
  void pop_range() override {}
  void* handle() const override { return static_cast<Stream*>(const_cast<FakeStream*>(this)); }

 private:
  FakeDevice& device_;
  WorkList waiting_, captured_;
  bool capturing_ = false;
  int64_t done_ = 0;
};

float to_f32(const TensorView& view, int64_t i) {
  return view.dtype == DType::f16 ? f16_to_float(view.as<uint16_t>()[i]) : view.as<float>()[i];
}

// A kernel of the reference backend on what is live.
class FakeKernel final : public Kernel {
 public:
  FakeKernel(const KernelRequest& request, std::unique_ptr<Kernel> kernel, bool wide)
      : kernel_(std::move(kernel)), op_(request.node.op), half_(request.node.text("precision", "fp32") == "fp16"), wide_(wide) {
    for (ValueId id : request.node.inputs) {
      Input& input = inputs_.emplace_back();
      if (id == kNone) continue;
      const Value& value = request.network.value(id);
      input.shape = value.shape;
      if (!value.constant) continue;
      input.constant = value.constant->row_major();
      input.memory = DeviceBuffer(request.device, input.constant.bytes(), "the weights");
    }
    for (ValueId id : request.node.outputs) outputs_.push_back(request.network.value(id).shape);
  }

  // Shape rules read those of numbers.
  bool reads_constant(size_t index) const override {
    return inputs_[index].constant.data && is_index(inputs_[index].constant.dtype);
  }
  size_t workspace_bytes(const BatchLimits& limits, int) const override { return kernel_->workspace_bytes(limits, 1); }
  DType stored(size_t, DType declared) const override {
    return half_ && declared == DType::f32 && op_ != "cast" ? DType::f16 : declared;
  }
  int64_t query_block() const override { return op_ == "attention" && inputs_[0].shape.size() == 2 ? 16 : 0; }

  void run(const KernelContext& context) const override {
    const int pieces = op_ != "linear" ? 1 : !wide_ ? 2 : context.batch.tokens <= 200 ? 3 : 1;
    for (int idle = 1; idle < pieces; ++idle) enqueue(context.device->stream, [] {});
    std::vector<TensorView> inputs(context.inputs.begin(), context.inputs.end());
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs_[i].constant.data) inputs[i] = inputs_[i].constant.view();
    }
    enqueue(context.device->stream,
            [this, inputs = std::move(inputs), outputs = std::vector(context.outputs.begin(), context.outputs.end()),
             batch = context.batch, workspace = context.workspace, &pool = context.pool,
             device = *context.device] { execute(inputs, outputs, batch, workspace, pool, device); });
  }

 private:
  struct Input {
    SymbolicShape shape;
    Tensor constant;
    DeviceBuffer memory;
  };

  void execute(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs, PackedBatch batch,
               std::span<std::byte> workspace, ThreadPool& pool, const DeviceBatch& device) const {
    batch.tokens = *device.tokens;
    batch.sequences = *device.sequences;
    batch.rows = *device.rows;
    std::array<TensorView, 16> live;
    std::array<std::vector<float>, 16> widened, results;
    for (size_t i = 0; i < inputs.size(); ++i) {
      live[i] = inputs[i];
      if (!inputs_[i].constant.data && inputs[i].data) live[i].shape = live_shape(batch, inputs_[i].shape, inputs[i].shape);
      if (live[i].dtype != DType::f16) continue;
      for (int64_t k = 0; k < live[i].shape.elements(); ++k) widened[i].push_back(to_f32(live[i], k));
      live[i] = {widened[i].data(), DType::f32, live[i].shape};
    }
    std::array<MutableTensorView, 16> written;
    for (size_t i = 0; i < outputs.size(); ++i) {
      std::memset(outputs[i].data, kPoison, TensorView(outputs[i]).bytes());  // what is live is written next
      written[i] = {outputs[i].data, outputs[i].dtype, live_shape(batch, outputs_[i], outputs[i].shape)};
      if (outputs[i].dtype != DType::f16) continue;
      results[i].resize(static_cast<size_t>(written[i].shape.elements()));
      written[i] = {results[i].data(), DType::f32, written[i].shape};
    }
    if (device.tiles && !tiles_cover(batch, live[5], device))
      throw std::logic_error("the tiles of an attention step are not its queries");
    kernel_->run({std::span(live.data(), inputs.size()), std::span(written.data(), outputs.size()), batch, workspace, pool});
    // As on a GPU, where matrix products do not look for themselves.
    const bool looks = op_ != "linear" || device.check_results;
    if (op_ == "cast" && std::any_of(widened[0].begin(), widened[0].end(), [](float value) { return !std::isfinite(value); }))
      *device.overflow = std::min(*device.overflow, device.step);
    for (size_t i = 0; i < outputs.size(); ++i) {
      auto* halves = static_cast<uint16_t*>(outputs[i].data);
      for (size_t k = 0; k < results[i].size(); ++k) {
        halves[k] = float_to_f16(results[i][k]);
        if (looks && (halves[k] & 0x7c00) == 0x7c00) *device.overflow = std::min(*device.overflow, device.step);
      }
    }
  }

  // Extents that are not the batch's are what they are.
  static Shape live_shape(const PackedBatch& batch, const SymbolicShape& symbolic, const Shape& shape) {
    std::vector<int64_t> extents(shape.begin(), shape.end());
    for (size_t axis = 0; axis < symbolic.size(); ++axis) {
      if (auto source = extent_source(symbolic[axis])) extents[axis] = batch.*source;
    }
    return Shape(std::span<const int64_t>(extents));
  }

  // Each query in one tile, with the keys of its sequence.
  static bool tiles_cover(const PackedBatch& batch, const TensorView& rows, const DeviceBatch& device) {
    const int64_t queries = rows.data ? rows.shape[0] : batch.tokens;
    std::vector<int> seen(static_cast<size_t>(queries), 0);
    if (*device.tile_count > device.tile_capacity) return false;
    for (const QueryTile* tile = device.tiles; tile < device.tiles + *device.tile_count; ++tile) {
      for (int32_t query = tile->query_begin; query < tile->query_begin + tile->query_count; ++query) {
        const int32_t row = rows.data ? rows.as<int32_t>()[query] : query;
        const int32_t* next = std::upper_bound(batch.cumulative_lengths + 1, batch.cumulative_lengths + batch.sequences, row);
        if (query >= queries || tile->key_begin + tile->key_count != next[0] ||
            tile->key_begin != batch.first_key(next - 1 - batch.cumulative_lengths))
          return false;
        ++seen[static_cast<size_t>(query)];
      }
    }
    return std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; });
  }

  std::unique_ptr<Kernel> kernel_;
  std::string op_;
  bool half_, wide_;
  std::vector<Input> inputs_;
  std::vector<SymbolicShape> outputs_;
};

template <bool kWide>
PrepareResult prepare(const KernelRequest& request) {
  const auto kernels = reference_backend().kernels();
  const auto entry = std::find_if(kernels.begin(), kernels.end(), [&](const KernelEntry& e) { return e.op == request.node.op; });
  PrepareResult result = entry->prepare(request);
  auto* taken = std::get_if<Preparation>(&result);
  if (!taken) return result;
  return Preparation{std::make_unique<FakeKernel>(request, std::move(taken->kernel), kWide), "a fake"};
}

std::shared_ptr<Device> open(std::string_view name) { return fake_device(name.back() - '0'); }

std::span<const KernelEntry> all_kernels() {
  static const std::vector<KernelEntry> entries = [] {
    std::vector<KernelEntry> made;
    for (const KernelEntry& entry : reference_backend().kernels()) made.push_back({entry.op, "fake", prepare<false>});
    return made;
  }();
  return entries;
}

constexpr KernelEntry kAlternatives[] = {{"linear", "fake_wide_linear", prepare<true>}};

}  // namespace

void enqueue(Stream& stream, std::function<void()> work) { static_cast<FakeStream&>(stream).put(std::move(work)); }

std::unique_ptr<Stream> FakeDevice::make_stream() {
  check_alive("a stream");
  return std::make_unique<FakeStream>(*this);
}

void FakeDevice::check_alive(const char* what) const {
  if (lost) fail(ErrorCode::unsupported, "device {}: {}: it is lost", name_, what);
}

void* FakeDevice::take(size_t bytes, const char* purpose, size_t& held, Memory& memory, size_t limit) {
  const std::lock_guard lock(mutex_);
  check_alive(purpose);
  if (held + bytes > limit)
    fail(ErrorCode::out_of_memory, "device {}: {} needs {} bytes: {} are free", name_, purpose, bytes, limit - held);
  void* taken = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  std::memset(taken, kPoison, bytes);
  memory[static_cast<const std::byte*>(taken)] = bytes;
  held += bytes;
  ++allocations_;
  return taken;
}

void FakeDevice::give_back(void* memory, size_t& held, Memory& own) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = own.find(static_cast<const std::byte*>(memory));
  held -= found->second;
  own.erase(found);
  std::free(memory);
}

bool FakeDevice::inside(const Memory& own, const void* memory, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(memory);
  auto next = own.upper_bound(begin);
  if (next == own.begin()) return false;
  --next;
  return begin + bytes <= next->first + next->second;
}

bool FakeDevice::owns(const void* memory, size_t bytes) const {
  const std::lock_guard lock(mutex_);
  return inside(device_memory_, memory, bytes);
}

bool FakeDevice::owns_pinned(const void* memory, size_t bytes) const {
  const std::lock_guard lock(mutex_);
  return inside(pinned_memory_, memory, bytes);
}

std::shared_ptr<FakeDevice> fake_device(int index) {
  static const std::array<std::shared_ptr<FakeDevice>, 4> devices = [] {
    std::array<std::shared_ptr<FakeDevice>, 4> made;
    for (size_t i = 0; i < made.size(); ++i) made[i] = std::make_shared<FakeDevice>(fmt::format("fake:{}", i));
    return made;
  }();
  return devices.at(static_cast<size_t>(index));
}

const Backend& fake_backend_of_few() {
  static constexpr Backend kBackend{
      .name = "fake",
      .kernels = []() -> std::span<const KernelEntry> {
        static const std::vector<KernelEntry> entries = [] {
          std::vector<KernelEntry> made;
          for (const std::string_view op : {"attention", "embedding", "layer_norm", "linear", "matmul", "pool", "softmax"})
            made.push_back({op, "fake", prepare<false>});
          return made;
        }();
        return entries;
      },
      .open = open,
      .on_device = true};
  return kBackend;
}

const Backend& fake_backend() {
  static constexpr Backend kBackend{.name = "fake",
                                    .kernels = all_kernels,
                                    .alternatives = []() -> std::span<const KernelEntry> { return kAlternatives; },
                                    .open = open,
                                    .on_device = true};
  return kBackend;
}

const Backend& fake_backend_that_fuses() {
  static constexpr Backend kBackend{.name = "fake",
                                    .kernels = all_kernels,
                                    .open = open,
                                    .on_device = true,
                                    .fuses_linear_layer_norm = [](std::string_view, int64_t, int64_t) { return true; }};
  return kBackend;
}

}  // namespace bertie
