#include "cpu/kernels/top_k_log_sum_exp.h"

#include "cpu/kernels/float_type.h"
#include "cpu/kernels/math.h"
#include "cpu/kernels/sum_vectors.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();

// The largest so far, in order.
struct Best {
  float* values;
  float* places;
  int64_t k;
  int64_t count = 0;

  // Elements come by ascending place. NaN does not count.
  void offer(float value, int64_t place) {
    if (value != value || (count == k && value <= values[k - 1])) return;
    int64_t at = count < k ? count++ : k - 1;
    for (; at > 0 && values[at - 1] < value; --at) {
      values[at] = values[at - 1];
      places[at] = places[at - 1];
    }
    values[at] = value;
    places[at] = static_cast<float>(place);
  }
};

void take_best(const float* x, int64_t extent, Best& best) {
  constexpr int64_t kTogether = 64;
  int64_t i = 0;
  for (; i + kTogether <= extent; i += kTogether) {
    // The maximum's second operand is what stays beside NaN.
    Vec16 largest = broadcast(-kInfinity);
#pragma GCC unroll 4
    for (int64_t v = 0; v < kTogether; v += 16) largest = max(load(x + i + v), largest);
    if (best.count == best.k && reduce_max(largest) <= best.values[best.k - 1]) continue;
    for (int64_t j = i; j < i + kTogether; ++j) best.offer(x[j], j);
  }
  for (; i < extent; ++i) best.offer(x[i], i);
  for (i = 0; best.count < best.k; ++i) {  // NaN, where there is nothing else
    if (x[i] == x[i]) continue;
    best.values[best.count] = x[i];
    best.places[best.count++] = static_cast<float>(i);
  }
}

float log_sum_exp(const float* x, int64_t extent, float largest) {
  if (!(largest > -kInfinity && largest < kInfinity)) return largest;
  const Vec16 shift = broadcast(largest);
  const float sum = sum_vectors(
      extent, [ x, shift ](int64_t i, int64_t count, Vec16 total) __attribute__((always_inline)) {
        if (count >= 16) return total + exp(load(x + i) - shift);
        float terms[16];
        store_up_to_16(terms, exp(load_partial(x + i, count) - shift), count);
        return total + load_partial(terms, count);  // zeros beyond the row
      });
  return static_cast<float>(largest + __builtin_log(static_cast<double>(sum)));
}

}  // namespace

void top_k_log_sum_exp(const TopKRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = rows.x + row * rows.extent;
    float* out = rows.out + row * (2 * rows.k + 1);
    Best best{out, out + rows.k, rows.k};
    take_best(x, rows.extent, best);
    out[2 * rows.k] = log_sum_exp(x, rows.extent, out[0]);
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
