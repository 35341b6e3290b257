// What the files of this folder register in backend.cc.
#pragma once

#include "backend/kernel.h"

namespace bertie::cpu {

PrepareResult prepare_attention(const KernelRequest& request);
PrepareResult prepare_bf16_linear(const KernelRequest& request);
PrepareResult prepare_elementwise(const KernelRequest& request);
PrepareResult prepare_embedding(const KernelRequest& request);
PrepareResult prepare_embedding_layer_norm(const KernelRequest& request);
PrepareResult prepare_gather_rows(const KernelRequest& request);
PrepareResult prepare_gelu(const KernelRequest& request);
PrepareResult prepare_int8_attention(const KernelRequest& request);
PrepareResult prepare_int8_linear(const KernelRequest& request);
PrepareResult prepare_layer_norm(const KernelRequest& request);
PrepareResult prepare_linear(const KernelRequest& request);
PrepareResult prepare_linear_shared(const KernelRequest& request);  // weights that an embedding reads too, packed on the fly
PrepareResult prepare_matmul(const KernelRequest& request);
PrepareResult prepare_normalize(const KernelRequest& request);
PrepareResult prepare_pack_rows(const KernelRequest& request);
PrepareResult prepare_pool(const KernelRequest& request);
PrepareResult prepare_quantize_rows(const KernelRequest& request);
PrepareResult prepare_reduce(const KernelRequest& request);
PrepareResult prepare_skip_layer_norm(const KernelRequest& request);
PrepareResult prepare_softmax(const KernelRequest& request);
PrepareResult prepare_top_k_log_sum_exp(const KernelRequest& request);
PrepareResult prepare_transpose(const KernelRequest& request);
PrepareResult prepare_unary(const KernelRequest& request);

}  // namespace bertie::cpu
