// LayerNorm over rows, three times: the same numbers by three ways through memory. docs/performance/layer-norm-plugin.md says
// what each step bought.
#pragma once

#include <cstdint>

namespace layer_norm {

// Rows of `extent` elements: out = (x - mean) / sqrt(variance + epsilon) * gamma + beta. Sums are float32.
struct Rows {
  const void* x;  // float, or IEEE half where `half`
  void* out;      // of the same type
  bool half;
  const float* gamma;  // [extent]
  const float* beta;
  int64_t extent;
  float epsilon;
};

// Stage 1: three passes over all the rows, for means, for variances, for results; `statistics` holds 2 floats a row. This is what three
// separate kernels would do. float32 alone.
void normalise_in_three_passes(const Rows& rows, int64_t begin, int64_t end, float* statistics);

// Stage 2: one pass: each row is summed, centred and normalised while it lies in the first-level cache. float32 alone.
void normalise_row_by_row(const Rows& rows, int64_t begin, int64_t end);

// Stage 3: as stage 2, in vectors of 16 floats with four sums at a time, for the widest instruction set that the machine has; half
// is widened as it is read. Every instruction set gives the same bits: the order of the sums is written down, and nothing is fused.
using NormaliseVectors = void (*)(const Rows& rows, int64_t begin, int64_t end);
struct VectorStage {
  const char* name;  // "avx512", "avx2", "generic"
  NormaliseVectors run;
};
VectorStage best_vector_stage();

}  // namespace layer_norm
