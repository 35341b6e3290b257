// What this machine can do at most: a loop of nothing but multiply-adds in registers, and one of nothing but loads.
#pragma once

#include <cstdint>

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
// Runs `rounds` rounds of float32 products, by what kernels/gemm.h multiplies with, and returns the operations done (two a multiply-add).
// `sink` keeps the work alive.
int64_t f32_peak(int64_t rounds, float* sink);
// The same of eight-bit integers with exact 32-bit sums, by what kernels/int8_gemm.h multiplies with.
int64_t int8_peak(int64_t rounds);
// The same of bfloat16 with sums in float32, by what kernels/bf16_gemm.h multiplies with.
int64_t bf16_peak(int64_t rounds);
// Reads `count` floats (a multiple of 64), each once.
void read_peak(const float* data, int64_t count, float* sink);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
