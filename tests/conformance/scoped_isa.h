// The instruction sets that the cpu backend is checked on, and one of them for a while.
#pragma once

#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "cpu/isa.h"

namespace bertie::test {

// All that this machine has; under ThreadSanitizer, which watches threads alone, the widest: all run their threads alike.
inline std::span<const cpu::Isa> checked_isas() {
#if defined(__SANITIZE_THREAD__)
  return cpu::available_isas().last(1);
#else
  return cpu::available_isas();
#endif
}

// Runs under one instruction set, then under what was active before.
class ScopedIsa {
 public:
  explicit ScopedIsa(std::string_view name) : before_(std::getenv("BERTIE_ISA") ? std::getenv("BERTIE_ISA") : "") {
    setenv("BERTIE_ISA", std::string(name).c_str(), 1);
  }
  ~ScopedIsa() { setenv("BERTIE_ISA", before_.c_str(), 1); }

 private:
  std::string before_;
};

}  // namespace bertie::test
