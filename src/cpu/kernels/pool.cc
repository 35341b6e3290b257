#include "cpu/kernels/pool.h"

#include "cpu/kernels/float_type.h"
#include "cpu/kernels/math.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

// The rows of up to 4 * 16 columns combined, the first one alone to begin with.
template <typename Combine, typename Finish>
BERTIE_INLINE void reduce_columns(const PoolSequence& sequence, int64_t begin, int64_t end, Combine combine, Finish finish) {
  constexpr int64_t kVectors = 4;
  for (int64_t column = begin; column < end; column += 16 * kVectors) {
    int64_t counts[kVectors];
    Vec16 totals[kVectors];
#pragma GCC unroll 4
    for (int64_t v = 0; v < kVectors; ++v) {
      counts[v] = max(0, min(16, end - column - 16 * v));
      totals[v] = load_up_to_16(sequence.x + column + 16 * v, counts[v]);
    }
    for (int64_t row = 1; row < sequence.length; ++row) {
      const float* x = sequence.x + row * sequence.extent + column;
#pragma GCC unroll 4
      for (int64_t v = 0; v < kVectors; ++v) totals[v] = combine(totals[v], load_up_to_16(x + 16 * v, counts[v]));
    }
#pragma GCC unroll 4
    for (int64_t v = 0; v < kVectors; ++v) store_up_to_16(sequence.out + column + 16 * v, finish(totals[v]), counts[v]);
  }
}

}  // namespace

void pool(const PoolSequence& sequence, int64_t begin, int64_t end) {
  if (sequence.length == 0) {
    for (int64_t i = begin; i < end; ++i) sequence.out[i] = 0;
    return;
  }
  const auto same = [](Vec16 x) { return x; };
  const auto add = [](Vec16 a, Vec16 b) { return a + b; };
  const Vec16 length = broadcast(static_cast<float>(sequence.length));
  PoolSequence first = sequence;
  switch (sequence.mode) {
    case PoolMode::cls: first.length = 1; return reduce_columns(first, begin, end, add, same);
    case PoolMode::max:
      return reduce_columns(
          sequence, begin, end, [](Vec16 a, Vec16 b) { return maximum(a, b); }, same);
    case PoolMode::mean: return reduce_columns(sequence, begin, end, add, [length](Vec16 x) { return x / length; });
    case PoolMode::mean_sqrt_length:
      return reduce_columns(sequence, begin, end, add, [root = sqrt(length)](Vec16 x) { return x / root; });
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
