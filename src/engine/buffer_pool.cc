#include "engine/buffer_pool.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace bertie {
namespace {

constexpr uint64_t kRunsKept = 8;

// Rounded up to one of eight sizes between powers of two.
size_t size_class(size_t bytes) {
  const size_t least = std::max(bytes, kBufferAlignment);
  const size_t step = std::max(std::bit_floor(least) / 8, kBufferAlignment);
  return (least + step - 1) / step * step;
}

}  // namespace

AlignedBytes allocate_aligned(size_t bytes, const char* purpose) {
  // Large pages where the system has them: rows of activations lie kilobytes apart, each on a page of its own otherwise.
  constexpr size_t kLargePage = size_t{2} << 20;
  const size_t alignment = bytes >= 2 * kLargePage ? kLargePage : size_t{kBufferAlignment};
  const size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  AlignedBytes memory(static_cast<std::byte*>(std::aligned_alloc(alignment, rounded)));
  if (!memory)
    fail(ErrorCode::out_of_memory, "{} needs {:.1f} MB more than there are", purpose, static_cast<double>(rounded) / 1e6);
#if defined(__linux__)
  if (alignment == kLargePage) madvise(memory.get(), rounded, MADV_HUGEPAGE);
#endif
  return memory;
}

BufferPool::Handle BufferPool::acquire(size_t bytes) {
  const size_t size = size_class(bytes);
  auto found = std::find_if(buffers_.begin(), buffers_.end(),
                            [&](const Buffer& buffer) { return buffer.holders == 0 && buffer.size == size; });
  if (found == buffers_.end()) {
    found = std::find_if(buffers_.begin(), buffers_.end(), [](const Buffer& buffer) { return buffer.size == 0; });
    if (found == buffers_.end()) found = buffers_.insert(found, Buffer{});
    if (device_)
      found->device_bytes = DeviceBuffer(device_, size, "a run", pinned_);
    else
      found->bytes = allocate_aligned(size, "a run");
    found->size = size;
  }
  found->holders = 1;
  found->last_run = run_;
  return static_cast<Handle>(found - buffers_.begin());
}

void BufferPool::trim() {
  for (Buffer& buffer : buffers_) {
    if (buffer.size > 0 && buffer.holders == 0 && buffer.last_run + kRunsKept < run_) buffer = Buffer{};
  }
  ++run_;
}

size_t BufferPool::bytes() const {
  size_t total = 0;
  for (const Buffer& buffer : buffers_) total += buffer.size;
  return total;
}

}  // namespace bertie
