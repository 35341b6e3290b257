#include "cpu/backend.h"

namespace bertie {

const Backend& cpu_backend() {
  static const Backend backend{"cpu", [] { return std::span<const KernelEntry>(); }};
  return backend;
}

}  // namespace bertie
