#include "cpu/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"

namespace bertie::cpu {
namespace {

#if defined(__x86_64__)
bool has_f16c() {  // __builtin_cpu_supports of GCC 12 and clang 14 does not know this name
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

bool can_run(std::string_view name) {
  if (name == "generic") return true;
#if defined(__x86_64__)
  // __builtin_cpu_supports asks XGETBV too, so that registers the operating system does not save count as absent.
  __builtin_cpu_init();
  if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (name == "avx512") {
    return can_run("avx2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  }
#endif
  return false;
}

const Isa kAll[] = {
    {"generic", &generic::kKernels},
#if defined(__x86_64__)
    {"avx2", &avx2::kKernels},
    {"avx512", &avx512::kKernels},
#endif
};

}  // namespace

std::span<const Isa> available_isas() {
  static const std::vector<Isa> isas = [] {
    std::vector<Isa> found;
    for (const Isa& isa : kAll)
      if (can_run(isa.name)) found.push_back(isa);
    return found;
  }();
  return isas;
}

const Isa& isa_named(std::string_view name) {
  for (const Isa& isa : available_isas())
    if (isa.name == name) return isa;
  fail(ErrorCode::unsupported, "this machine has no instruction set {}", name);
}

const Isa& active_isa() {
  const std::span<const Isa> isas = available_isas();
  const char* wanted = std::getenv("BERTIE_ISA");
  if (wanted == nullptr || *wanted == '\0') return isas.back();
  for (const Isa& isa : isas)
    if (isa.name == wanted) return isa;
  std::string names;
  for (const Isa& isa : isas) names += (names.empty() ? "" : ", ") + std::string(isa.name);
  for (const Isa& isa : kAll)
    if (isa.name == wanted) fail(ErrorCode::unsupported, "BERTIE_ISA={}: this machine has only {}", wanted, names);
  fail(ErrorCode::invalid_argument, "BERTIE_ISA={}: unknown instruction set; this machine has {}", wanted, names);
}

}  // namespace bertie::cpu
