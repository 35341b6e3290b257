#include "cuda/cuda_device.h"

#include <algorithm>
#include <cstring>

#include "base/float16.h"
#include "base/float_element.h"
#include "cuda/kernels/linear_layer_norm.h"
#include "cuda/library.h"

namespace bertie::cuda {
namespace {

class Graph final : public DeviceGraph {
 public:
  Graph(std::shared_ptr<CudaDevice> device, void* handle) : device_(std::move(device)), handle_(handle) {}
  ~Graph() override { device_->api().release_graph(device_->index(), handle_); }
  void* handle() const { return handle_; }

 private:
  std::shared_ptr<CudaDevice> device_;
  void* handle_;
};

class Events final : public Timeline {
 public:
  Events(std::shared_ptr<CudaDevice> device, size_t places) : device_(std::move(device)), events_(places) {
    for (void*& event : events_) device_->check(device_->api().make_event(device_->index(), &event), "an event");
  }
  ~Events() override {
    for (void* event : events_) {
      if (event) device_->api().release_event(device_->index(), event);
    }
  }
  double milliseconds(size_t from, size_t to) const override {
    float time = 0;
    device_->check(device_->api().elapsed(events_[from], events_[to], &time), "the time between events");
    return time;
  }
  void* operator[](size_t place) const { return events_[place]; }

 private:
  std::shared_ptr<CudaDevice> device_;
  std::vector<void*> events_;
};

class CudaStream final : public Stream {
 public:
  explicit CudaStream(std::shared_ptr<CudaDevice> device) : device_(std::move(device)) {
    check(api().make_stream(device_->index(), &handle_), "a stream");
  }
  ~CudaStream() override { api().release_stream(device_->index(), handle_); }

  void copy(void* to, const void* from, size_t bytes) override {
    if (bytes > 0) check(api().copy(to, from, bytes, device_->index(), handle_), "a copy");
  }
  void fill(void* to, uint8_t byte, size_t bytes) override {
    if (bytes > 0) check(api().fill(to, byte, bytes, device_->index(), handle_), "filling memory");
  }
  void synchronize() override { check(api().synchronize(handle_), "a run"); }
  void begin_capture() override { check(api().begin_capture(device_->index(), handle_), "recording a graph"); }
  std::unique_ptr<DeviceGraph> end_capture() override {
    void* graph = nullptr;
    check(api().end_capture(handle_, &graph), "recording a graph");
    return std::make_unique<Graph>(device_, graph);
  }
  void abandon_capture() noexcept override {
    void* graph = nullptr;
    if (api().end_capture(handle_, &graph) == BERTIE_CUDA_OK && graph) api().release_graph(device_->index(), graph);
  }
  void launch(const DeviceGraph& graph) override {
    check(api().launch_graph(static_cast<const Graph&>(graph).handle(), handle_), "launching a graph");
  }
  std::unique_ptr<Timeline> make_timeline(size_t places) override { return std::make_unique<Events>(device_, places); }
  void mark(Timeline& timeline, size_t place) override {
    check(api().record_event(static_cast<Events&>(timeline)[place], handle_), "an event");
  }
  void push_range(const char* name) override { api().push_range(name); }
  void pop_range() override { api().pop_range(); }
  void* handle() const override { return handle_; }
  void take_mailboxes(std::shared_ptr<const DeviceBuffer> mailboxes) {
    if (!mailboxes) return;
    fill(mailboxes->data(), 0, mailboxes->bytes());
    mailboxes_ = std::move(mailboxes);
  }
  void* mailboxes() const override { return mailboxes_ ? mailboxes_->data() : nullptr; }

 private:
  const BertieCudaApi& api() const { return device_->api(); }
  void check(int32_t status, const char* what) const { device_->check(status, what); }

  std::shared_ptr<CudaDevice> device_;
  std::shared_ptr<const DeviceBuffer> mailboxes_;
  void* handle_ = nullptr;
};

double gigabytes(size_t bytes) { return static_cast<double>(bytes) / 1e9; }

}  // namespace

std::shared_ptr<CudaDevice> CudaDevice::open(const BertieCudaApi& api, int index) {
  const std::string name = fmt::format("device cuda:{}", index);
  int32_t driver = 0, toolkit = 0, count = 0;
  if (api.versions(&driver, &toolkit) != BERTIE_CUDA_OK || driver == 0)
    fail(ErrorCode::unsupported, "{}: there is no NVIDIA driver on this machine", name);
  int32_t status = api.device_count(&count);
  if (status == BERTIE_CUDA_DRIVER_TOO_OLD || driver / 1000 < toolkit / 1000) {
    fail(ErrorCode::unsupported, "{}: the NVIDIA driver is too old: it knows CUDA {}, this build needs {}", name,
         cuda_version(driver), cuda_version(toolkit));
  }
  if (status == BERTIE_CUDA_NO_DEVICE || (status == BERTIE_CUDA_OK && count == 0))
    fail(ErrorCode::unsupported, "{}: the NVIDIA driver shows no GPU to this process", name);
  if (status != BERTIE_CUDA_OK) fail(ErrorCode::unsupported, "{}: {}", name, api.error_text(status));
  if (index >= count) fail(ErrorCode::unsupported, "{}: this machine has {} GPU{}", name, count, count == 1 ? "" : "s");
  BertieCudaProperties properties{};
  status = api.open_device(index, &properties);
  if (status == BERTIE_CUDA_NO_KERNEL_IMAGE) {
    fail(ErrorCode::unsupported, "{}: {} has compute capability {}.{}, this build is for {}", name, properties.name,
         properties.major, properties.minor, api.architectures);
  }
  if (status != BERTIE_CUDA_OK) fail(ErrorCode::unsupported, "{}: {}", name, api.error_text(status));
  return std::shared_ptr<CudaDevice>(new CudaDevice(api, index, properties));
}

CudaDevice::CudaDevice(const BertieCudaApi& api, int index, const BertieCudaProperties& properties)
    : api_(api),
      index_(index),
      properties_(properties),
      name_(fmt::format("cuda:{}", index)),
      description_(fmt::format("{}, compute capability {}.{}, {:.0f} GB", properties.name, properties.major, properties.minor,
                               gigabytes(properties.memory_bytes))) {}

void CudaDevice::check(int32_t status, const char* what) const {
  if (status != BERTIE_CUDA_OK) fail(ErrorCode::unsupported, "device {}: {}: {}", name_, what, api_.error_text(status));
}

void CudaDevice::fail_allocation(int32_t status, size_t bytes, const char* purpose, bool pinned) const {
  if (status != BERTIE_CUDA_OUT_OF_MEMORY) check(status, purpose);
  if (pinned)
    fail(ErrorCode::out_of_memory, "device {}: {} needs {:.3f} GB of pinned host memory", name_, purpose, gigabytes(bytes));
  size_t free = 0, total = 0;
  api_.memory(index_, &free, &total);
  fail(ErrorCode::out_of_memory, "device {}: {} needs {:.3f} GB: {:.3f} of {:.3f} GB are free", name_, purpose, gigabytes(bytes),
       gigabytes(free), gigabytes(total));
}

void* CudaDevice::allocate(size_t bytes, const char* purpose) {
  void* memory = nullptr;
  const int32_t status = api_.allocate(index_, bytes, &memory);
  if (status != BERTIE_CUDA_OK) fail_allocation(status, bytes, purpose, false);
  return memory;
}

void* CudaDevice::allocate_pinned(size_t bytes, const char* purpose) {
  void* memory = nullptr;
  const int32_t status = api_.allocate_pinned(index_, bytes, &memory);
  if (status != BERTIE_CUDA_OK) fail_allocation(status, bytes, purpose, true);
  return memory;
}

std::unique_ptr<Stream> CudaDevice::make_stream() {
  auto stream = std::make_unique<CudaStream>(shared_from_this());
  stream->take_mailboxes(make_mailboxes());
  return stream;
}

std::shared_ptr<const DeviceBuffer> CudaDevice::make_mailboxes() {
  const std::lock_guard lock(mutex_);
  std::erase_if(mailboxes_, [](const auto& own) { return own.expired(); });
  const int most = most_linear_layer_norm_streams(properties_.multiprocessors);
  if (capability() != 90 || std::ssize(mailboxes_) >= most) return nullptr;
  const size_t bytes = static_cast<size_t>(linear_layer_norm_mailbox_bytes(properties_.multiprocessors));
  try {
    auto own = std::make_shared<const DeviceBuffer>(shared_from_this(), bytes, "a stream's mailboxes");
    mailboxes_.push_back(own);
    return own;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
    return nullptr;
  }
}

const BertieCudaLauncher& CudaDevice::find_launcher(const char* name, size_t params_bytes) const {
  for (int32_t i = 0; i < api_.launcher_count; ++i) {
    const BertieCudaLauncher& own = api_.launchers[i];
    if (std::strcmp(own.name, name) != 0) continue;
    if (own.params_bytes != params_bytes)
      fail(ErrorCode::unsupported, "device {}: kernel {} of the CUDA library is another build's", name_, name);
    return own;
  }
  fail(ErrorCode::unsupported, "device {}: the CUDA library has no kernel {}", name_, name);
}

std::shared_ptr<const DeviceBuffer> CudaDevice::upload(const Tensor& tensor, DType dtype) {
  const std::lock_guard lock(mutex_);
  std::erase_if(uploads_, [](const auto& entry) { return entry.second.buffer.expired(); });
  Upload& known = uploads_[{tensor.data.get(), dtype}];
  const size_t elements = static_cast<size_t>(tensor.shape.elements()), bytes = elements * dtype_size(dtype);
  const bool same = !known.source.owner_before(tensor.data) && !tensor.data.owner_before(known.source);
  if (auto shared = known.buffer.lock(); shared && same && shared->bytes() == bytes) return shared;
  const Tensor rows = tensor.row_major();
  const void* source = rows.data.get();
  std::vector<std::byte> converted;
  if (rows.dtype != dtype) {
    converted.resize(bytes);
    const TensorView view = rows.view();
    for (size_t i = 0; i < elements; ++i) {
      const float value = float_element(view, i);
      if (dtype == DType::f32)
        reinterpret_cast<float*>(converted.data())[i] = value;
      else
        reinterpret_cast<uint16_t*>(converted.data())[i] = dtype == DType::f16 ? float_to_f16(value) : float_to_bf16(value);
    }
    source = converted.data();
  }
  auto buffer = std::make_shared<DeviceBuffer>(shared_from_this(), bytes, "the weights");
  CudaStream stream(shared_from_this());
  stream.copy(buffer->data(), source, bytes);
  stream.synchronize();
  known = {tensor.data, buffer};
  return buffer;
}

}  // namespace bertie::cuda
