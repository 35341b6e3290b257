#include "cpu/backend.h"

#include <algorithm>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "cpu/ops.h"

namespace bertie {
namespace {

// Where several take an op they stand in the order in which they are asked.
constexpr struct {
  std::string_view op, name;  // the kernel's name is cpu_<isa>_f32_<name>
  PrepareResult (*prepare)(const KernelRequest&);
} kTable[] = {
    {"attention", "attention", cpu::prepare_attention},
    {"elementwise", "elementwise", cpu::prepare_elementwise},
    {"embedding", "embedding", cpu::prepare_embedding},
    {"embedding_layer_norm", "embedding_layer_norm", cpu::prepare_embedding_layer_norm},
    {"gather_rows", "gather_rows", cpu::prepare_gather_rows},
    {"gelu", "gelu", cpu::prepare_gelu},
    {"layer_norm", "layer_norm", cpu::prepare_layer_norm},
    {"linear", "linear", cpu::prepare_linear},
    {"linear", "linear_shared", cpu::prepare_linear_shared},
    {"matmul", "matmul", cpu::prepare_matmul},
    {"normalize", "normalize", cpu::prepare_normalize},
    {"pack_rows", "pack_rows", cpu::prepare_pack_rows},
    {"pool", "pool", cpu::prepare_pool},
    {"reduce", "reduce", cpu::prepare_reduce},
    {"skip_layer_norm", "skip_layer_norm", cpu::prepare_skip_layer_norm},
    {"softmax", "softmax", cpu::prepare_softmax},
    {"transpose", "transpose", cpu::prepare_transpose},
    {"unary", "unary", cpu::prepare_unary},
};

// Entries for each instruction set, made once: their names must outlive every engine.
struct Entries {
  explicit Entries(std::string_view isa) {
    names.reserve(std::size(kTable));  // the entries point into it
    for (const auto& row : kTable) {
      names.push_back("cpu_" + std::string(isa) + "_f32_" + std::string(row.name));
      entries.push_back({row.op, names.back(), row.prepare});
    }
  }
  std::vector<std::string> names;
  std::vector<KernelEntry> entries;
};

std::span<const KernelEntry> active_entries() {
  static const std::vector<std::pair<const cpu::IsaKernels*, Entries>> all = [] {
    std::vector<std::pair<const cpu::IsaKernels*, Entries>> made;
    made.reserve(cpu::available_isas().size());
    for (const cpu::Isa& isa : cpu::available_isas()) made.emplace_back(isa.kernels, Entries(isa.name));
    return made;
  }();
  const cpu::IsaKernels* active = cpu::active_isa().kernels;
  return std::find_if(all.begin(), all.end(), [active](const auto& isa) { return isa.first == active; })->second.entries;
}

}  // namespace

const Backend& cpu_backend() {
  static constexpr Backend kBackend{"cpu", active_entries};
  return kBackend;
}

}  // namespace bertie
