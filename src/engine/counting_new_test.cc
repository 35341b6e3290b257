#include "engine/counting_new_test.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace bertie {
namespace {
std::atomic<int64_t> allocations{0};
}  // namespace
int64_t allocation_count() { return allocations; }
}  // namespace bertie

void* operator new(size_t size) {
  ++bertie::allocations;
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}

void* operator new(size_t size, const std::nothrow_t&) noexcept {
  ++bertie::allocations;
  return std::malloc(size ? size : 1);
}

void* operator new(size_t size, std::align_val_t alignment) {
  ++bertie::allocations;
  const size_t align = static_cast<size_t>(alignment);
  if (void* memory = std::aligned_alloc(align, (size + align - 1) / align * align)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
