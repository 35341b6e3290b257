#include "cpu/kernels/isa_kernels.h"

namespace bertie::cpu::BERTIE_ISA {

const IsaKernels kKernels = {
    .attention = attention,
    .attention_scratch_floats = attention_scratch_floats,
    .layer_norm = layer_norm,
    .embedding_layer_norm = embedding_layer_norm,
    .gather_rows = gather_rows,
    .normalize = normalize,
    .elementwise = elementwise,
    .softmax = softmax,
    .reduce = reduce,
    .pool = pool,
    .unary = unary,
    .gemm = gemm,
    .gemm_panels_at_once = gemm_panels_at_once,
    .pack_panels = pack_panels,
    .fma_peak = fma_peak,
    .read_peak = read_peak,
};

}  // namespace bertie::cpu::BERTIE_ISA
