// LayerNorm of rows, alone or after a sum that has no other use.
//
// Two passes in float32: the mean, then the variance about it, both summed in the order of sum_vectors.h.
#pragma once

#include <cstdint>

#include "cpu/kernels/gather_rows.h"
#include "cpu/kernels/quantize_rows.h"

namespace bertie::cpu {

struct LayerNormScale {
  const float* gamma;  // [extent]
  const float* beta;   // [extent]
  int64_t extent;
  float epsilon;
};

// Where rows go: floats, and where `quantized` has values eight-bit integers too (then rows may share their floats' place).
struct LayerNormOutput {
  float* floats;
  int64_t stride;          // extent, or 0: each row in the place of the one before
  QuantizeRows quantized;  // of these floats
};

struct LayerNormRows {
  const float* x;         // [rows, extent]
  const float* residual;  // [rows, extent], added to x first, or nullptr
  LayerNormScale scale;
  LayerNormOutput out;  // floats may be x or residual
};

struct EmbeddingLayerNormRows {
  static constexpr int kMaxTables = 3;
  TableRows tables[kMaxTables];  // added in order
  int table_count;
  LayerNormScale scale;
  LayerNormOutput out;
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
void layer_norm(const LayerNormRows& rows, int64_t begin, int64_t end);
void embedding_layer_norm(const EmbeddingLayerNormRows& rows, int64_t begin, int64_t end);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
