// What each derived instruction set replaces in its base's table; compiled for derived sets alone.
#include "cpu/kernels/isa_kernels.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

void replace_kernels([[maybe_unused]] IsaKernels& table) {
#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && !defined(__AVX512BF16__))
  table.attention_int8 = attention_int8;
  table.attention_int8_scratch_floats = attention_int8_scratch_floats;
  table.int8_order = int8_order;
  table.int8_order_length = int8_order_length;
#endif
#if defined(BERTIE_AMX) || defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && !defined(__AVX512BF16__))
  table.int8_gemm = int8_gemm;
  table.int8_gemm_scratch_bytes = int8_gemm_scratch_bytes;
  table.int8_gemm_rows_at_once = int8_gemm_rows_at_once;
  table.int8_gemm_panels_at_once = int8_gemm_panels_at_once;
  table.int8_peak = int8_peak;
#endif
#if defined(BERTIE_AMX)
  table.gemm = gemm;
  table.gemm_scratch_bytes = gemm_scratch_bytes;
  table.gemm_rows_at_once = gemm_rows_at_once;
  table.gemm_ranges_per_thread = gemm_ranges_per_thread;
  table.gemm_panels_at_once = gemm_panels_at_once;
  table.gemm_in_parts = gemm_in_parts;
  table.f32_peak = f32_peak;
#endif
#if defined(__AVX512BF16__)
  table.bf16_gemm = bf16_gemm;
  table.bf16_gemm_scratch_bytes = bf16_gemm_scratch_bytes;
  table.bf16_gemm_rows_at_once = bf16_gemm_rows_at_once;
  table.bf16_gemm_panels_at_once = bf16_gemm_panels_at_once;
  table.pack_bf16_panels = pack_bf16_panels;
  table.bf16_peak = bf16_peak;
#endif
}

}  // namespace bertie::cpu::BERTIE_ISA
