// Vec16: sixteen float lanes, with the same operations in the same order on every instruction set.
//
// Rules for every file in this folder. It is compiled once per instruction set, with BERTIE_ISA naming the namespace
// (generic, avx2, avx512 or a derived one) and that set's compiler flags; the tables are gathered in isa_kernels.h. The linker keeps one copy of
// an inline function, whatever flags it was compiled with, so nothing here may instantiate one that other code could pick up:
// include only <cstddef>, <cstdint> and headers of this folder, keep all functions inside bertie::cpu::BERTIE_ISA, and no std::.
//
// Lane-wise results agree bit for bit between avx2 and avx512; `generic` rounds the product in fma() and so differs in last bits.
//
// Vec16 (floats):  load store load_partial store_partial broadcast zero  + - * /  fma fnma min max sqrt abs negate
//                  load_f16 load_bf16 (and _partial)  reduce_add reduce_max reduce_min  transpose(square)
// Mask16:          a < b, a <= b, a == b; select(mask, if_true, if_false); any(mask)
// IVec16 (int32):  load_int store_int store_i8 store_u16 broadcast_int  + - & | ^ max  shift_left<n> shift_right<n> (logical)
//                  round_to_int to_float bits from_bits
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef BERTIE_ISA
#error "compiled once per instruction set: see src/cpu/CMakeLists.txt"
#endif

#if defined(__AMX_INT8__) || defined(__AMXINT8__)  // clang 14 writes the latter
#define BERTIE_AMX 1
#endif

#define BERTIE_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include "cpu/kernels/vec_avx512.h"
#elif defined(__AVX2__)
#include "cpu/kernels/vec_avx2.h"
#else
#include "cpu/kernels/vec_generic.h"
#endif

namespace bertie::cpu::BERTIE_ISA {

// A hint to fetch the cache line of `address` into the first level, or into the second.
BERTIE_INLINE void prefetch(const void* address) { __builtin_prefetch(address, 0, 3); }
BERTIE_INLINE void prefetch_l2(const void* address) { __builtin_prefetch(address, 0, 2); }
BERTIE_INLINE void prefetch_for_write(const void* address) { __builtin_prefetch(address, 1, 3); }

BERTIE_INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
BERTIE_INLINE int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

}  // namespace bertie::cpu::BERTIE_ISA
