#include "reference/backend.h"

#include "reference/ops.h"

namespace bertie {
namespace {

constexpr KernelEntry kKernels[] = {
    {"arg_reduce", "reference_arg_reduce", reference::prepare_arg_reduce},
    {"attention", "reference_attention", reference::prepare_attention},
    {"cast", "reference_cast", reference::prepare_cast},
    {"clip", "reference_clip", reference::prepare_clip},
    {"concat", "reference_concat", reference::prepare_concat},
    {"constant_of_shape", "reference_constant_of_shape", reference::prepare_constant_of_shape},
    {"cumulative_sum", "reference_cumulative_sum", reference::prepare_cumulative_sum},
    {"dequantize_linear", "reference_dequantize_linear", reference::prepare_dequantize_linear},
    {"dynamic_quantize_linear", "reference_dynamic_quantize_linear", reference::prepare_dynamic_quantize_linear},
    {"einsum", "reference_einsum", reference::prepare_einsum},
    {"elementwise", "reference_elementwise", reference::prepare_elementwise},
    {"embedding", "reference_embedding", reference::prepare_embedding},
    {"embedding_layer_norm", "reference_embedding_layer_norm", reference::prepare_embedding_layer_norm},
    {"expand", "reference_expand", reference::prepare_expand},
    {"fake_quantize", "reference_fake_quantize", reference::prepare_fake_quantize},
    {"fp8_linear", "reference_fp8_linear", reference::prepare_fp8_linear},
    {"gather", "reference_gather", reference::prepare_gather},
    {"gather_elements", "reference_gather_elements", reference::prepare_gather_elements},
    {"gather_nd", "reference_gather_nd", reference::prepare_gather_nd},
    {"gather_rows", "reference_gather_rows", reference::prepare_gather_rows},
    {"gelu", "reference_gelu", reference::prepare_gelu},
    {"int8_linear", "reference_int8_linear", reference::prepare_int8_linear},
    {"layer_norm", "reference_layer_norm", reference::prepare_layer_norm},
    {"linear", "reference_linear", reference::prepare_linear},
    {"linear_skip_layer_norm", "reference_linear_skip_layer_norm", reference::prepare_linear_skip_layer_norm},
    {"matmul", "reference_matmul", reference::prepare_matmul},
    {"matmul_integer", "reference_matmul_integer", reference::prepare_matmul_integer},
    {"non_zero", "reference_non_zero", reference::prepare_non_zero},
    {"normalize", "reference_normalize", reference::prepare_normalize},
    {"one_hot", "reference_one_hot", reference::prepare_one_hot},
    {"pack_rows", "reference_pack_rows", reference::prepare_pack_rows},
    {"pad", "reference_pad", reference::prepare_pad},
    {"pool", "reference_pool", reference::prepare_pool},
    {"quantize_linear", "reference_quantize_linear", reference::prepare_quantize_linear},
    {"quantize_rows", "reference_quantize_rows", reference::prepare_quantize_rows},
    {"range", "reference_range", reference::prepare_range},
    {"reduce", "reference_reduce", reference::prepare_reduce},
    {"reshape", "reference_reshape", reference::prepare_reshape},
    {"scatter_elements", "reference_scatter_elements", reference::prepare_scatter_elements},
    {"scatter_nd", "reference_scatter_nd", reference::prepare_scatter_nd},
    {"shape", "reference_shape", reference::prepare_shape},
    {"size", "reference_size", reference::prepare_size},
    {"skip_layer_norm", "reference_skip_layer_norm", reference::prepare_skip_layer_norm},
    {"slice", "reference_slice", reference::prepare_slice},
    {"softmax", "reference_softmax", reference::prepare_softmax},
    {"split", "reference_split", reference::prepare_split},
    {"squeeze", "reference_squeeze", reference::prepare_squeeze},
    {"tile", "reference_tile", reference::prepare_tile},
    {"top_k", "reference_top_k", reference::prepare_top_k},
    {"top_k_log_sum_exp", "reference_top_k_log_sum_exp", reference::prepare_top_k_log_sum_exp},
    {"transpose", "reference_transpose", reference::prepare_transpose},
    {"trilu", "reference_trilu", reference::prepare_trilu},
    {"unary", "reference_unary", reference::prepare_unary},
    {"unsqueeze", "reference_unsqueeze", reference::prepare_unsqueeze},
    {"where", "reference_where", reference::prepare_where},
};

}  // namespace

const Backend& reference_backend() {
  static constexpr Precision kPrecisions[] = {{"fp32"}, {"int8", true}, {"bf16", true}, {"fp8", true}};
  static constexpr Backend kBackend{.name = "reference",
                                    .kernels = [] { return std::span<const KernelEntry>(kKernels); },
                                    .precisions = [] { return std::span<const Precision>(kPrecisions); }};
  return kBackend;
}

}  // namespace bertie
