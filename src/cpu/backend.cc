#include "cpu/backend.h"

#include <algorithm>
#include <string>
#include <vector>

#include "cpu/bf16_gemm.h"
#include "cpu/isa.h"
#include "cpu/ops.h"

namespace bertie {
namespace {

// Where several take an op they stand in the order in which they are asked.
constexpr struct {
  std::string_view op, name;  // the kernel's name is cpu_<isa>_<type>_<name>
  PrepareResult (*prepare)(const KernelRequest&);
  bool reads_panels = false;
  std::string_view type = "f32";
} kTable[] = {
    {"attention", "attention", cpu::prepare_attention},
    {"attention", "attention", cpu::prepare_int8_attention, false, "i8"},
    {"elementwise", "elementwise", cpu::prepare_elementwise},
    {"embedding", "embedding", cpu::prepare_embedding},
    {"embedding_layer_norm", "embedding_layer_norm", cpu::prepare_embedding_layer_norm},
    {"gather_rows", "gather_rows", cpu::prepare_gather_rows},
    {"gelu", "gelu", cpu::prepare_gelu},
    {"int8_linear", "linear", cpu::prepare_int8_linear, true, "i8"},
    {"layer_norm", "layer_norm", cpu::prepare_layer_norm},
    {"linear", "linear", cpu::prepare_bf16_linear, true, "bf16"},
    {"linear", "linear", cpu::prepare_linear, true},
    {"linear", "linear_shared", cpu::prepare_linear_shared, true},
    {"matmul", "matmul", cpu::prepare_matmul},
    {"normalize", "normalize", cpu::prepare_normalize},
    {"pack_rows", "pack_rows", cpu::prepare_pack_rows},
    {"pool", "pool", cpu::prepare_pool},
    {"quantize_rows", "quantize_rows", cpu::prepare_quantize_rows, false, "i8"},
    {"reduce", "reduce", cpu::prepare_reduce},
    {"skip_layer_norm", "skip_layer_norm", cpu::prepare_skip_layer_norm},
    {"softmax", "softmax", cpu::prepare_softmax},
    {"top_k_log_sum_exp", "top_k_log_sum_exp", cpu::prepare_top_k_log_sum_exp},
    {"transpose", "transpose", cpu::prepare_transpose},
    {"unary", "unary", cpu::prepare_unary},
};

// Those whose time is worth choosing by; they take KernelRequest::variant.
constexpr std::string_view kTimed[] = {"attention", "layer_norm", "linear", "skip_layer_norm"};

// Entries for each instruction set, made once: their names must outlive every engine.
struct Entries {
  explicit Entries(const cpu::Isa& isa) : kernels(isa.kernels) {
    names.reserve(std::size(kTable));  // the entries point into both
    portable_names.reserve(std::size(kTable));
    for (const auto& row : kTable) {
      const std::string name = std::string(row.type) + "_" + std::string(row.name);
      names.push_back("cpu_" + std::string(isa.name) + "_" + name);
      portable_names.push_back("cpu_" + name);
      entries.push_back({row.op, names.back(), row.prepare, row.reads_panels, portable_names.back(), isa.name});
      if (std::find(std::begin(kTimed), std::end(kTimed), row.op) == std::end(kTimed)) continue;
      timed.push_back(entries.back());
      if (row.op != "linear") timed_beside_parts.push_back(entries.back());
    }
  }
  const cpu::IsaKernels* kernels;
  std::vector<std::string> names, portable_names;
  std::vector<KernelEntry> entries, timed;
  std::vector<KernelEntry> timed_beside_parts;  // of the same bits as amx, whose products have their own
};

const std::vector<Entries>& all_entries() {
  static const std::vector<Entries> all = [] {
    std::vector<Entries> made;
    made.reserve(cpu::available_isas().size());
    for (const cpu::Isa& isa : cpu::available_isas()) made.emplace_back(isa);
    return made;
  }();
  return all;
}

size_t active_index() {
  const auto& all = all_entries();
  const cpu::IsaKernels* active = cpu::active_isa().kernels;
  return static_cast<size_t>(
      std::find_if(all.begin(), all.end(), [active](const Entries& isa) { return isa.kernels == active; }) - all.begin());
}

std::span<const KernelEntry> active_entries() { return all_entries()[active_index()].entries; }

// The next narrower vectors, which a machine may run faster, with the same results; the generic code is never the faster one.
std::span<const KernelEntry> narrower_entries() {
  const std::string_view vectors = cpu::active_isa().vectors;
  const bool in_parts = cpu::active_isa().kernels->gemm_in_parts();
  for (size_t i = active_index(); i-- > 0;) {
    const std::string_view narrower = cpu::available_isas()[i].vectors;
    if (narrower == vectors) continue;
    if (narrower == "generic") return {};
    return in_parts ? all_entries()[i].timed_beside_parts : all_entries()[i].timed;
  }
  return {};
}

std::string instruction_sets() {
  std::string names;
  for (size_t i = 0; i <= active_index(); ++i) {
    if (i > 0) names += ' ';
    names += cpu::available_isas()[i].name;
  }
  return names;
}

std::span<const Precision> precisions() {
  static constexpr Precision kAll[] = {{"fp32"}, {"int8", true}, {"bf16", true}};
  return {kAll, cpu::has_bf16_gemm(*cpu::active_isa().kernels) ? 3u : 2u};
}

}  // namespace

const Backend& cpu_backend() {
  static constexpr Backend kBackend{.name = "cpu",
                                    .kernels = active_entries,
                                    .alternatives = narrower_entries,
                                    .hardware = instruction_sets,
                                    .precisions = precisions};
  return kBackend;
}

}  // namespace bertie
