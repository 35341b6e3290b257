// One instruction set of the cpu backend for a while.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

namespace bertie::test {

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
