// Memory for packed weights: pages of their own, so that they go back to the system with the engine; large ones where it has them.
#pragma once

#include <cstddef>

#include "bertie/tensor.h"

namespace bertie::cpu {

class PackedPages {
 public:
  PackedPages() = default;
  // Zeros. `shape`: of the weight that is to be packed, for the error. Throws Error(out_of_memory).
  PackedPages(size_t bytes, const Shape& shape);
  PackedPages(const PackedPages&) = delete;
  PackedPages& operator=(const PackedPages&) = delete;
  ~PackedPages();
  void* data() const { return memory_; }  // nullptr where there are no bytes
  size_t bytes() const { return bytes_; }

 private:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace bertie::cpu
