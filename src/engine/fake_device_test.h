// A device of the host's memory for tests: work waits on its stream until somebody synchronises, graphs are lists of work, memory is
// poisoned and has a limit. Its kernels are the reference backend's, run on what is live of a batch; what is not live they fill with NaN.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/kernel.h"

namespace bertie {

class FakeDevice final : public Device {
 public:
  explicit FakeDevice(std::string name) : name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  const std::string& description() const override { return name_; }
  void* allocate(size_t bytes, const char* purpose) override { return take(bytes, purpose, held_, device_memory_, memory_bytes); }
  void* allocate_pinned(size_t bytes, const char* purpose) override {
    return take(bytes, purpose, held_pinned_, pinned_memory_, SIZE_MAX);
  }
  void release(void* memory) noexcept override { give_back(memory, held_, device_memory_); }
  void release_pinned(void* memory) noexcept override { give_back(memory, held_pinned_, pinned_memory_); }
  std::unique_ptr<Stream> make_stream() override;

  size_t memory_bytes = size_t{64} << 20;  // there are
  bool lost = false;                       // nothing works any more

  size_t held() const { return held_ + held_pinned_; }
  int allocations() const { return allocations_; }
  std::atomic<int> graphs = 0;                  // that live
  std::atomic<int> recorded = 0, launched = 0;  // graphs, ever
  std::atomic<int> copies = 0, waits = 0;       // done, outside of graphs and inside
  std::vector<std::string> ranges;
  std::string fault;  // the first thing that no device would have forgiven; empty: none

  // Whether the bytes are inside one allocation.
  bool owns(const void* memory, size_t bytes) const;
  bool owns_pinned(const void* memory, size_t bytes) const;
  void check_alive(const char* what) const;

 private:
  using Memory = std::map<const std::byte*, size_t>;
  void* take(size_t bytes, const char* purpose, size_t& held, Memory& memory, size_t limit);
  void give_back(void* memory, size_t& held, Memory& own) noexcept;
  static bool inside(const Memory& own, const void* memory, size_t bytes);

  std::string name_;
  mutable std::mutex mutex_;
  Memory device_memory_, pinned_memory_;
  size_t held_ = 0, held_pinned_ = 0;
  int allocations_ = 0;
};

// Work that a kernel puts on a FakeDevice's stream, which as a handle is a Stream*.
void enqueue(Stream& stream, std::function<void()> work);

// Opens "fake:0" to "fake:3", each the same device whenever it is asked for. A linear step takes two pieces of work, and by its alternative kernel
// three where the batch has up to 200 tokens, one where it has more.
const Backend& fake_backend();
// As fake_backend, with kernels for a few ops alone.
const Backend& fake_backend_of_few();
// As fake_backend, on devices that want linear_skip_layer_norm, whatever its size.
const Backend& fake_backend_that_fuses();
std::shared_ptr<FakeDevice> fake_device(int index);

}  // namespace bertie
