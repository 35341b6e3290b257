// What the files of this folder register in backend.cc.
#pragma once

#include "backend/kernel.h"

namespace bertie::cuda {

PrepareResult prepare_any_attention(const KernelRequest& request);
PrepareResult prepare_any_embedding_layer_norm(const KernelRequest& request);
PrepareResult prepare_any_layer_norm(const KernelRequest& request);
PrepareResult prepare_any_skip_layer_norm(const KernelRequest& request);
PrepareResult prepare_cast(const KernelRequest& request);
PrepareResult prepare_concat(const KernelRequest& request);
PrepareResult prepare_cublaslt_fp8_linear(const KernelRequest& request);
PrepareResult prepare_elementwise(const KernelRequest& request);
PrepareResult prepare_embedding(const KernelRequest& request);
PrepareResult prepare_expand(const KernelRequest& request);
PrepareResult prepare_fp8_attention(const KernelRequest& request);
PrepareResult prepare_gather(const KernelRequest& request);
PrepareResult prepare_gather_rows(const KernelRequest& request);
PrepareResult prepare_gelu(const KernelRequest& request);
PrepareResult prepare_int8_attention(const KernelRequest& request);
PrepareResult prepare_int8_linear(const KernelRequest& request);
PrepareResult prepare_linear(const KernelRequest& request);
// By what cuBLASLt's heuristics prefer next; kAlgorithm 1 to 7.
template <int kAlgorithm>
PrepareResult prepare_linear_candidate(const KernelRequest& request);
PrepareResult prepare_linear_layer_norm(const KernelRequest& request);
PrepareResult prepare_matmul(const KernelRequest& request);
PrepareResult prepare_normalize(const KernelRequest& request);
PrepareResult prepare_pack_rows(const KernelRequest& request);
PrepareResult prepare_pool(const KernelRequest& request);
PrepareResult prepare_quantize_rows(const KernelRequest& request);
PrepareResult prepare_reduce(const KernelRequest& request);
PrepareResult prepare_reshape(const KernelRequest& request);
PrepareResult prepare_slice(const KernelRequest& request);
PrepareResult prepare_softmax(const KernelRequest& request);
PrepareResult prepare_split(const KernelRequest& request);
PrepareResult prepare_tf32_attention(const KernelRequest& request);
PrepareResult prepare_tile_attention(const KernelRequest& request);
PrepareResult prepare_top_k_log_sum_exp(const KernelRequest& request);
PrepareResult prepare_transpose(const KernelRequest& request);
PrepareResult prepare_unary(const KernelRequest& request);
PrepareResult prepare_warp_embedding_layer_norm(const KernelRequest& request);
PrepareResult prepare_warp_layer_norm(const KernelRequest& request);
PrepareResult prepare_warp_skip_layer_norm(const KernelRequest& request);
PrepareResult prepare_wgmma_attention(const KernelRequest& request);
PrepareResult prepare_wgmma_fp8_linear(const KernelRequest& request);
PrepareResult prepare_wgmma_int8_linear(const KernelRequest& request);
PrepareResult prepare_wgmma_linear(const KernelRequest& request);
PrepareResult prepare_where(const KernelRequest& request);

}  // namespace bertie::cuda
