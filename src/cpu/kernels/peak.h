// A loop of nothing but multiply-adds in registers: what this instruction set can do at most.
#pragma once

#include <cstdint>

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
// Runs `rounds` rounds and returns the floating-point operations done (two a multiply-add). `sink` keeps the work alive.
int64_t fma_peak(int64_t rounds, float* sink);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
