// A device beside the CPU: memory of its own, streams on which work is put, graphs of work recorded once. What engines, sessions and
// kernels use of it; tests stand a fake one in its place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace bertie {

class Stream;

// Work recorded on a stream, to be put there again as one piece.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
};

// Places in a stream's work, whose distance in time can be read once they have been passed.
class Timeline {
 public:
  virtual ~Timeline() = default;
  virtual double milliseconds(size_t from, size_t to) const = 0;
};

// Work is done in the order in which it is put here. Each function throws Error(unsupported) where the device is lost or refuses.
class Stream {
 public:
  virtual ~Stream() = default;
  // Host memory must be pinned for the copy not to hold up the caller.
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  virtual void fill(void* to, uint8_t byte, size_t bytes) = 0;
  // Waits until all is done.
  virtual void synchronize() = 0;
  // What is put here in between is recorded, and not done.
  virtual void begin_capture() = 0;
  virtual std::unique_ptr<DeviceGraph> end_capture() = 0;
  virtual void abandon_capture() noexcept = 0;
  virtual void launch(const DeviceGraph& graph) = 0;
  virtual std::unique_ptr<Timeline> make_timeline(size_t places) = 0;
  virtual void mark(Timeline& timeline, size_t place) = 0;
  // Names what is put here in between to a profiler that is attached.
  virtual void push_range(const char* name) = 0;
  virtual void pop_range() = 0;
  virtual void* handle() const = 0;  // the device's own: a cudaStream_t
  // Memory of this stream's kernels alone, for what blocks of one tell each other, zeros at first; nullptr: the device gives none.
  virtual void* mailboxes() const { return nullptr; }
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const std::string& name() const = 0;         // "cuda:0"
  virtual const std::string& description() const = 0;  // "NVIDIA H100 80GB HBM3, compute capability 9.0"
  // Both throw Error(out_of_memory) naming the purpose, what was wanted and what there is.
  virtual void* allocate(size_t bytes, const char* purpose) = 0;
  virtual void* allocate_pinned(size_t bytes, const char* purpose) = 0;  // host memory that the device copies from and to
  virtual void release(void* memory) noexcept = 0;
  virtual void release_pinned(void* memory) noexcept = 0;
  virtual std::unique_ptr<Stream> make_stream() = 0;
};

// Owns memory of a device, or pinned memory of the host. Empty where no bytes were asked for.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(std::shared_ptr<Device> device, size_t bytes, const char* purpose, bool pinned = false)
      : device_(std::move(device)), bytes_(bytes), pinned_(pinned) {
    if (bytes > 0) memory_ = pinned ? device_->allocate_pinned(bytes, purpose) : device_->allocate(bytes, purpose);
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceBuffer() {
    if (memory_) pinned_ ? device_->release_pinned(memory_) : device_->release(memory_);
  }
  std::byte* data() const { return static_cast<std::byte*>(memory_); }
  size_t bytes() const { return bytes_; }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    std::swap(pinned_, other.pinned_);
  }

  std::shared_ptr<Device> device_;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
  bool pinned_ = false;
};

}  // namespace bertie
