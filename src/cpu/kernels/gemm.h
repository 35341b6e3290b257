// C[M,N] = activation(A[M,K] * W[N,K]^T + bias[N]) + residual[M,N], float32.
//
// The order of every sum, whatever the tile, the range, the batch or the number of threads: K is cut into blocks of kGemmBlockK;
// a block's sum starts at zero and takes one fma a step, k ascending; the first block's sum is stored and the following ones
// are added in order; then the bias is added, then the activation taken, then the residual added.
//
// amx differs within a block: every float is cut into three of eight bits, largest first, a into a1 + a2 + a3 by rounding, w into
// w1 + w2 + w3 by truncation, and 32 k at a time, ascending, a block's sum takes the products a1 w3, a1 w2, a2 w2, a2 w1, a3 w1, a1 w1,
// each in the instruction's own order (TDPBF16PS: pairs of k, parts and sums that are subnormal are zero). What is left out is below
// 2^-22 of a product. A block's sum that is not finite is taken again by fma. So amx gives other last bits than the other sets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/float_type.h"

namespace bertie::cpu {

constexpr int64_t kGemmBlockK = 384;
constexpr int64_t kGemmPanel = 16;           // columns of C, rows of W
constexpr int64_t kGemmMaxPanels = 8;        // that one tile may take
constexpr int64_t kGemmRangesPerThread = 8;  // many, so that the last to finish is not late by much

enum class Activation : uint8_t { none, gelu, gelu_tanh, relu, silu, tanh };

// W as it lies in the file: [n, k], row-major; or turned, f32 [k, n], as the second operand of a product has it.
struct GemmWeight {
  const void* data;
  FloatType type;
  int64_t n, k;
  bool turned = false;
};

struct GemmProblem {
  const float* a;  // [M, k]
  int64_t a_stride;
  GemmWeight weight;
  const void* panels;  // all of `weight` in panels of its own type, 64-byte aligned; nullptr: packed block by block into scratch
  float* c;            // [M, n]
  int64_t c_stride;
  const float* bias;  // [n] or nullptr
  Activation activation;
  const float* residual;  // [M, n] or nullptr
  int64_t residual_stride;
  uint64_t run =
      0;  // another one for each call with rows of other values: a thread's ranges of one run may share what they make of A
};

// Of C: at most gemm_rows_at_once() rows; whole panels of columns.
struct GemmRange {
  int64_t row_begin, row_end;
  int64_t panel_begin, panel_end;
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {

// Computes one range of C. `scratch`: gemm_scratch_bytes of this thread, 64-byte aligned.
void gemm(const GemmProblem& problem, const GemmRange& range, std::byte* scratch);
// For weights in panels, or packed on the fly, and of its type; a multiple of 64.
size_t gemm_scratch_bytes(const GemmProblem& problem);

// Panels of W in float32: [panel][k][kGemmPanel], zeros where n ends within the panel. Writes panels [panel_begin, panel_end) for k in
// [k_begin, k_end), one panel `panel_stride` floats after the other, the first at `panels`.
void pack_panels(const GemmWeight& weight, int64_t panel_begin, int64_t panel_end, int64_t k_begin, int64_t k_end, float* panels,
                 int64_t panel_stride);

// Panels [begin, end) of a row-major W of 16 bits as it is, of all k, the first at `panels`.
void pack_half_panels(const GemmWeight& weight, int64_t begin, int64_t end, uint16_t* panels);

// Rows of one range at most.
int64_t gemm_rows_at_once();
// Ranges of a product that a thread gets at most, where rows do not call for more: kGemmRangesPerThread, but few where each would bring
// the same rows into another form.
int64_t gemm_ranges_per_thread(int64_t rows, int64_t k);
// Whether these are the sums of amx, in other last bits than other sets'.
bool gemm_in_parts();
// Panels that a tile of `rows` rows takes at once (a range of as many is without waste).
int64_t gemm_panels_at_once(int64_t rows);

}  // namespace bertie::cpu::BERTIE_ISA
#endif
