#include "cpu/packed_pages.h"

#include <sys/mman.h>

#include "base/error.h"

namespace bertie::cpu {

PackedPages::PackedPages(size_t bytes, const Shape& shape) : bytes_(bytes) {
  if (bytes == 0) return;
  memory_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory_ == MAP_FAILED) fail(ErrorCode::out_of_memory, "packed weights {} need {} bytes", shape.to_string(), bytes);
  madvise(memory_, bytes, MADV_HUGEPAGE);
}

PackedPages::~PackedPages() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

}  // namespace bertie::cpu
