#include "cpu/kernels/layer_norm.h"

#include "cpu/kernels/sum_vectors.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

// value(i, count) gives the vector of the row at element i, zero from lane `count` on; `out` may be where it reads from.
template <typename Value>
BERTIE_INLINE void normalise(const LayerNormScale& scale, float* out, float sum, Value value) {
  const int64_t extent = scale.extent;
  const Vec16 mean = broadcast(sum / static_cast<float>(extent));
  const float squares = sum_vectors(
      extent, [&](int64_t i, int64_t count, Vec16 total) __attribute__((always_inline)) {
        Vec16 centred = value(i, count) - mean;
        if (count < 16) {  // lanes that are not there must not count
          float lanes[16];
          store(lanes, centred);
          centred = load_partial(lanes, count);
        }
        return fma(centred, centred, total);
      });
  const Vec16 factor = broadcast(1.0f) / sqrt(broadcast(squares / static_cast<float>(extent) + scale.epsilon));
  int64_t i = 0;
  for (; i + 16 <= extent; i += 16) {
    store(out + i, fma((value(i, 16) - mean) * factor, load(scale.gamma + i), load(scale.beta + i)));
  }
  if (i < extent) {
    const int64_t count = extent - i;
    const Vec16 gamma = load_partial(scale.gamma + i, count), beta = load_partial(scale.beta + i, count);
    store_partial(out + i, fma((value(i, count) - mean) * factor, gamma, beta), count);
  }
}

template <typename Value>
BERTIE_INLINE float sum_row(int64_t extent, Value value) {
  return sum_vectors(
      extent, [&](int64_t i, int64_t count, Vec16 total) __attribute__((always_inline)) { return total + value(i, count); });
}

}  // namespace

void layer_norm(const LayerNormRows& rows, int64_t begin, int64_t end) {
  const int64_t extent = rows.scale.extent;
  for (int64_t row = begin; row < end; ++row) {
    const float* x = rows.x + row * extent;
    float* out = rows.out.floats + row * rows.out.stride;
    const auto plain = [x](int64_t i, int64_t count) __attribute__((always_inline)) { return load_up_to_16(x + i, count); };
    if (rows.residual) {
      const float* residual = rows.residual + row * extent;
      const auto sum = [ x, residual ](int64_t i, int64_t count) __attribute__((always_inline)) {
        return load_up_to_16(x + i, count) + load_up_to_16(residual + i, count);
      };
      normalise(rows.scale, out, sum_row(extent, sum), sum);
    } else {
      normalise(rows.scale, out, sum_row(extent, plain), plain);
    }
    if (rows.out.quantized.values) quantize_rows(rows.out.quantized, row, row + 1);
  }
}

void embedding_layer_norm(const EmbeddingLayerNormRows& rows, int64_t begin, int64_t end) {
  const int64_t extent = rows.scale.extent;
  for (int64_t row = begin; row < end; ++row) {
    int64_t offsets[EmbeddingLayerNormRows::kMaxTables];
    for (int t = 0; t < rows.table_count; ++t) offsets[t] = row_id(rows.tables[t], row) * extent;
    float* out = rows.out.floats + row * rows.out.stride;
    const float sum = sum_row(
        extent, [&](int64_t i, int64_t count) __attribute__((always_inline)) {
          Vec16 total = read_floats(rows.tables[0].type, rows.tables[0].table, offsets[0] + i, count);
          for (int t = 1; t < rows.table_count; ++t) {
            total = total + read_floats(rows.tables[t].type, rows.tables[t].table, offsets[t] + i, count);
          }
          store_up_to_16(out + i, total, count);
          return total;
        });
    normalise(
        rows.scale, out,
        sum, [out](int64_t i, int64_t count) __attribute__((always_inline)) { return load_up_to_16(out + i, count); });
    if (rows.out.quantized.values) quantize_rows(rows.out.quantized, row, row + 1);
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
