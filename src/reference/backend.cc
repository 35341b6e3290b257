#include "reference/backend.h"

#include "reference/ops.h"

namespace bertie {
namespace {

constexpr KernelEntry kKernels[] = {
    {"attention", "reference_attention", reference::prepare_attention},
    {"elementwise", "reference_elementwise", reference::prepare_elementwise},
    {"embedding", "reference_embedding", reference::prepare_embedding},
    {"embedding_layer_norm", "reference_embedding_layer_norm", reference::prepare_embedding_layer_norm},
    {"gather_rows", "reference_gather_rows", reference::prepare_gather_rows},
    {"gelu", "reference_gelu", reference::prepare_gelu},
    {"layer_norm", "reference_layer_norm", reference::prepare_layer_norm},
    {"linear", "reference_linear", reference::prepare_linear},
    {"normalize", "reference_normalize", reference::prepare_normalize},
    {"pool", "reference_pool", reference::prepare_pool},
    {"skip_layer_norm", "reference_skip_layer_norm", reference::prepare_skip_layer_norm},
    {"unary", "reference_unary", reference::prepare_unary},
};

}  // namespace

const Backend& reference_backend() {
  static constexpr Backend kBackend{"reference", [] { return std::span<const KernelEntry>(kKernels); }};
  return kBackend;
}

}  // namespace bertie
