#include "cpu/isa.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "cpu/cpuid.h"

namespace bertie::cpu {
namespace {

struct Candidate {
  std::string_view name, vectors;
  bool available;
  const IsaKernels* table;       // or:
  void (*replace)(IsaKernels&);  // in the table of
  std::string_view base;         // this one, which stands before it
};

std::span<const Candidate> candidates() {
#if defined(__x86_64__)
  static const CpuFeatures& cpu = cpu_features();
#endif
  static const Candidate kAll[] = {
    {"generic", "generic", true, &generic::kKernels, nullptr, ""},
#if defined(__x86_64__)
    {"avx2", "avx2", cpu.avx2, &avx2::kKernels, nullptr, ""},
    {"avx2_vnni", "avx2", cpu.avx_vnni, nullptr, avx2_vnni::replace_kernels, "avx2"},
    {"avx512", "avx512", cpu.avx512, &avx512::kKernels, nullptr, ""},
    {"avx512_vnni", "avx512", cpu.avx512_vnni, nullptr, avx512_vnni::replace_kernels, "avx512"},
    {"avx512_bf16", "avx512", cpu.avx512_bf16, nullptr, avx512_bf16::replace_kernels, "avx512_vnni"},
    {"amx", "avx512", cpu.amx, nullptr, amx::replace_kernels, "avx512_bf16"},
#endif
  };
  return kAll;
}

struct Available {
  std::vector<IsaKernels> derived;  // the tables made here
  std::vector<Isa> isas;
};

const Available& available() {
  static const Available all = [] {
    Available made;
    made.derived.reserve(candidates().size());  // the sets point into it
    for (const Candidate& candidate : candidates()) {
      if (!candidate.available) continue;
      const IsaKernels* kernels = candidate.table;
      if (candidate.replace != nullptr) {
        const auto base = [&] {
          for (const Isa& isa : made.isas)
            if (isa.name == candidate.base) return isa.kernels;
          return static_cast<const IsaKernels*>(nullptr);
        }();
        candidate.replace(made.derived.emplace_back(*base));
        kernels = &made.derived.back();
      }
      made.isas.push_back({candidate.name, candidate.vectors, kernels});
    }
    return made;
  }();
  return all;
}

}  // namespace

std::span<const Isa> available_isas() { return available().isas; }

const Isa* find_isa(std::string_view name) {
  for (const Isa& isa : available_isas())
    if (isa.name == name) return &isa;
  return nullptr;
}

const Isa& isa_named(std::string_view name) {
  if (const Isa* isa = find_isa(name)) return *isa;
  fail(ErrorCode::unsupported, "this machine has no instruction set {}", name);
}

const Isa& active_isa() {
  const char* wanted = std::getenv("BERTIE_ISA");
  if (wanted == nullptr || *wanted == '\0') return available_isas().back();
  if (const Isa* isa = find_isa(wanted)) return *isa;
  std::string names;
  for (const Isa& isa : available_isas()) names += (names.empty() ? "" : ", ") + std::string(isa.name);
  for (const Candidate& candidate : candidates())
    if (candidate.name == wanted) fail(ErrorCode::unsupported, "BERTIE_ISA={}: this machine has only {}", wanted, names);
  fail(ErrorCode::invalid_argument, "BERTIE_ISA={}: unknown instruction set; this machine has {}", wanted, names);
}

}  // namespace bertie::cpu
