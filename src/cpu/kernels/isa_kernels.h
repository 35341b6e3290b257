// The inner loops of the cpu backend, one table per instruction set; cpu/isa.h says which one this machine runs.
//
// To add one: a file pair x.{h,cc} in this folder. x.h declares the arguments in bertie::cpu and, under `#ifdef BERTIE_ISA`, the
// function in bertie::cpu::BERTIE_ISA; isa_kernels.cc puts its address into the table below. vec.h states the rules.
//
// A derived set (cpu/isa.h) compiles only the files that CMakeLists.txt names for it, derived_isa.cc among them, which puts their functions
// into a copy of its base's table.
#pragma once

#include "cpu/kernels/attention.h"
#include "cpu/kernels/attention_int8.h"
#include "cpu/kernels/bf16_gemm.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/gather_rows.h"
#include "cpu/kernels/gemm.h"
#include "cpu/kernels/int8_gemm.h"
#include "cpu/kernels/layer_norm.h"
#include "cpu/kernels/normalize.h"
#include "cpu/kernels/peak.h"
#include "cpu/kernels/pool.h"
#include "cpu/kernels/quantize_rows.h"
#include "cpu/kernels/reduce.h"
#include "cpu/kernels/softmax.h"
#include "cpu/kernels/top_k_log_sum_exp.h"
#include "cpu/kernels/unary.h"

namespace bertie::cpu {

struct IsaKernels {
  // attention.h, attention_int8.h
  void (*attention)(const AttentionProblem& problem, const AttentionHead& now, const AttentionHead& next, float* scratch);
  int64_t (*attention_scratch_floats)(int64_t head_dim);
  void (*attention_int8)(const AttentionProblem& problem, const AttentionHead& now, const AttentionHead& next, float* scratch);
  int64_t (*attention_int8_scratch_floats)(int64_t head_dim);
  // layer_norm.h, gather_rows.h, normalize.h, elementwise.h: rows [begin, end)
  void (*layer_norm)(const LayerNormRows& rows, int64_t begin, int64_t end);
  void (*embedding_layer_norm)(const EmbeddingLayerNormRows& rows, int64_t begin, int64_t end);
  void (*gather_rows)(const GatherRows& rows, int64_t begin, int64_t end);
  void (*normalize)(const NormalizeRows& rows, int64_t begin, int64_t end);
  void (*elementwise)(const BinaryRows& rows, int64_t begin, int64_t end);
  // quantize_rows.h, softmax.h, reduce.h, top_k_log_sum_exp.h: rows [begin, end)
  void (*quantize_rows)(const QuantizeRows& rows, int64_t begin, int64_t end);
  void (*softmax)(const SoftmaxRows& rows, int64_t begin, int64_t end);
  void (*reduce)(const ReduceRows& rows, int64_t begin, int64_t end);
  void (*top_k_log_sum_exp)(const TopKRows& rows, int64_t begin, int64_t end);
  // pool.h, unary.h
  void (*pool)(const PoolSequence& sequence, int64_t begin, int64_t end);
  void (*unary)(UnaryFunction function, const float* x, float* out, int64_t count);
  // gemm.h
  void (*gemm)(const GemmProblem& problem, const GemmRange& range, std::byte* scratch);
  size_t (*gemm_scratch_bytes)(const GemmProblem& problem);
  int64_t (*gemm_rows_at_once)();
  int64_t (*gemm_ranges_per_thread)(int64_t rows, int64_t k);
  bool (*gemm_in_parts)();
  int64_t (*gemm_panels_at_once)(int64_t rows);
  void (*pack_panels)(const GemmWeight& weight, int64_t panel_begin, int64_t panel_end, int64_t k_begin, int64_t k_end,
                      float* panels, int64_t panel_stride);
  void (*pack_half_panels)(const GemmWeight& weight, int64_t begin, int64_t end, uint16_t* panels);
  // int8_gemm.h
  void (*int8_gemm)(const Int8GemmProblem& problem, const GemmRange& range, std::byte* scratch);
  size_t (*int8_gemm_scratch_bytes)(int64_t rows, int64_t k);
  int64_t (*int8_gemm_rows_at_once)();
  int64_t (*int8_gemm_panels_at_once)(int64_t rows);
  void (*pack_int8_panels)(const int8_t* weight, int64_t n, int64_t k, int64_t begin, int64_t end, int8_t* panels);
  void (*int8_order)(const int8_t* panels, int64_t count, int64_t k, uint16_t* order, int32_t* starts);
  int64_t (*int8_order_length)(int64_t k);
  // peak.h
  int64_t (*f32_peak)(int64_t rounds, float* sink);
  int64_t (*int8_peak)(int64_t rounds);
  void (*read_peak)(const float* data, int64_t count, float* sink);
  // bf16_gemm.h, peak.h: nullptr where the instruction set has no such products
  void (*bf16_gemm)(const Bf16GemmProblem& problem, const GemmRange& range, std::byte* scratch) = nullptr;
  size_t (*bf16_gemm_scratch_bytes)(int64_t rows, int64_t k) = nullptr;
  int64_t (*bf16_gemm_rows_at_once)() = nullptr;
  int64_t (*bf16_gemm_panels_at_once)(int64_t rows) = nullptr;
  void (*pack_bf16_panels)(const GemmWeight& weight, int64_t begin, int64_t end, uint16_t* panels) = nullptr;
  int64_t (*bf16_peak)(int64_t rounds) = nullptr;
};

namespace generic {
extern const IsaKernels kKernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const IsaKernels kKernels;
}
namespace avx2_vnni {
void replace_kernels(IsaKernels& table);
}
namespace avx512 {
extern const IsaKernels kKernels;
}
namespace avx512_vnni {
void replace_kernels(IsaKernels& table);
}
namespace avx512_bf16 {
void replace_kernels(IsaKernels& table);
}
namespace amx {
void replace_kernels(IsaKernels& table);
}
#endif

}  // namespace bertie::cpu
