// Attention of one head over the rows of one sequence in eight bits: src/quant/attention_int8.h defines every bit of it. Problems,
// items and scratch are as attention.h has them.
#pragma once

#include "cpu/kernels/attention.h"

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {

void attention_int8(const AttentionProblem& problem, const AttentionHead& now, const AttentionHead& next, float* scratch);
int64_t attention_int8_scratch_floats(int64_t head_dim);

}  // namespace bertie::cpu::BERTIE_ISA
#endif
