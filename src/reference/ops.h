// Prepares a step of each op; the definitions are in the files of their names.
#pragma once

#include "backend/kernel.h"

namespace bertie::reference {

PrepareResult prepare_arg_reduce(const KernelRequest& request);
PrepareResult prepare_attention(const KernelRequest& request);
PrepareResult prepare_cast(const KernelRequest& request);
PrepareResult prepare_clip(const KernelRequest& request);
PrepareResult prepare_concat(const KernelRequest& request);
PrepareResult prepare_constant_of_shape(const KernelRequest& request);
PrepareResult prepare_cumulative_sum(const KernelRequest& request);
PrepareResult prepare_dequantize_linear(const KernelRequest& request);
PrepareResult prepare_dynamic_quantize_linear(const KernelRequest& request);
PrepareResult prepare_einsum(const KernelRequest& request);
PrepareResult prepare_elementwise(const KernelRequest& request);
PrepareResult prepare_embedding(const KernelRequest& request);
PrepareResult prepare_embedding_layer_norm(const KernelRequest& request);
PrepareResult prepare_expand(const KernelRequest& request);
PrepareResult prepare_fake_quantize(const KernelRequest& request);
PrepareResult prepare_fp8_linear(const KernelRequest& request);
PrepareResult prepare_gather(const KernelRequest& request);
PrepareResult prepare_gather_elements(const KernelRequest& request);
PrepareResult prepare_gather_nd(const KernelRequest& request);
PrepareResult prepare_gather_rows(const KernelRequest& request);
PrepareResult prepare_gelu(const KernelRequest& request);
PrepareResult prepare_int8_linear(const KernelRequest& request);
PrepareResult prepare_layer_norm(const KernelRequest& request);
PrepareResult prepare_linear(const KernelRequest& request);
PrepareResult prepare_linear_skip_layer_norm(const KernelRequest& request);
PrepareResult prepare_matmul(const KernelRequest& request);
PrepareResult prepare_matmul_integer(const KernelRequest& request);
PrepareResult prepare_non_zero(const KernelRequest& request);
PrepareResult prepare_normalize(const KernelRequest& request);
PrepareResult prepare_one_hot(const KernelRequest& request);
PrepareResult prepare_pack_rows(const KernelRequest& request);
PrepareResult prepare_pad(const KernelRequest& request);
PrepareResult prepare_pool(const KernelRequest& request);
PrepareResult prepare_quantize_linear(const KernelRequest& request);
PrepareResult prepare_quantize_rows(const KernelRequest& request);
PrepareResult prepare_range(const KernelRequest& request);
PrepareResult prepare_reduce(const KernelRequest& request);
PrepareResult prepare_reshape(const KernelRequest& request);
PrepareResult prepare_scatter_elements(const KernelRequest& request);
PrepareResult prepare_scatter_nd(const KernelRequest& request);
PrepareResult prepare_shape(const KernelRequest& request);
PrepareResult prepare_size(const KernelRequest& request);
PrepareResult prepare_skip_layer_norm(const KernelRequest& request);
PrepareResult prepare_slice(const KernelRequest& request);
PrepareResult prepare_softmax(const KernelRequest& request);
PrepareResult prepare_split(const KernelRequest& request);
PrepareResult prepare_squeeze(const KernelRequest& request);
PrepareResult prepare_tile(const KernelRequest& request);
PrepareResult prepare_top_k_log_sum_exp(const KernelRequest& request);
PrepareResult prepare_top_k(const KernelRequest& request);
PrepareResult prepare_transpose(const KernelRequest& request);
PrepareResult prepare_trilu(const KernelRequest& request);
PrepareResult prepare_unary(const KernelRequest& request);
PrepareResult prepare_unsqueeze(const KernelRequest& request);
PrepareResult prepare_where(const KernelRequest& request);

}  // namespace bertie::reference
