#include "cpu/kernels/isa_kernels.h"

namespace bertie::cpu::BERTIE_ISA {

const IsaKernels kKernels = {
    .attention = attention,
    .attention_scratch_floats = attention_scratch_floats,
    .attention_int8 = attention_int8,
    .attention_int8_scratch_floats = attention_int8_scratch_floats,
    .layer_norm = layer_norm,
    .embedding_layer_norm = embedding_layer_norm,
    .gather_rows = gather_rows,
    .normalize = normalize,
    .elementwise = elementwise,
    .quantize_rows = quantize_rows,
    .softmax = softmax,
    .reduce = reduce,
    .top_k_log_sum_exp = top_k_log_sum_exp,
    .pool = pool,
    .unary = unary,
    .gemm = gemm,
    .gemm_scratch_bytes = gemm_scratch_bytes,
    .gemm_rows_at_once = gemm_rows_at_once,
    .gemm_ranges_per_thread = gemm_ranges_per_thread,
    .gemm_in_parts = gemm_in_parts,
    .gemm_panels_at_once = gemm_panels_at_once,
    .pack_panels = pack_panels,
    .pack_half_panels = pack_half_panels,
    .int8_gemm = int8_gemm,
    .int8_gemm_scratch_bytes = int8_gemm_scratch_bytes,
    .int8_gemm_rows_at_once = int8_gemm_rows_at_once,
    .int8_gemm_panels_at_once = int8_gemm_panels_at_once,
    .pack_int8_panels = pack_int8_panels,
    .int8_order = int8_order,
    .int8_order_length = int8_order_length,
    .f32_peak = f32_peak,
    .int8_peak = int8_peak,
    .read_peak = read_peak,
};

}  // namespace bertie::cpu::BERTIE_ISA
