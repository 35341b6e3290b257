// Memory for the results of a run whose sizes only the run knows, used again in later runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "backend/device.h"

namespace bertie {

struct AlignedFree {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedFree>;

inline constexpr size_t kBufferAlignment = 64;
// Throws Error(out_of_memory) naming `purpose`.
AlignedBytes allocate_aligned(size_t bytes, const char* purpose);

// Buffers come in classes of size, and a request takes one of its class alone: runs of the same shapes need no more than the first
// did. What the last few runs left unused is given back.
class BufferPool {
 public:
  using Handle = size_t;

  BufferPool() = default;
  // Of the device's memory, or of pinned memory.
  BufferPool(std::shared_ptr<Device> device, bool pinned) : device_(std::move(device)), pinned_(pinned) {}

  // Counts as one holder. Throws Error(out_of_memory).
  Handle acquire(size_t bytes);
  void hold(Handle handle) { ++buffers_[handle].holders; }
  void release(Handle handle) { --buffers_[handle].holders; }
  std::byte* data(Handle handle) const {
    const Buffer& buffer = buffers_[handle];
    return device_ ? buffer.device_bytes.data() : buffer.bytes.get();
  }
  // Between runs: what nobody holds and the last runs did not use goes.
  void trim();
  size_t bytes() const;

 private:
  struct Buffer {
    AlignedBytes bytes;  // one of the two
    DeviceBuffer device_bytes;
    size_t size = 0;  // 0: given back, the place is free
    int holders = 0;
    uint64_t last_run = 0;
  };
  std::shared_ptr<Device> device_;
  bool pinned_ = false;
  std::vector<Buffer> buffers_;
  uint64_t run_ = 0;
};

}  // namespace bertie
