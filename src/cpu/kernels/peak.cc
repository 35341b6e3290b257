#include "cpu/kernels/peak.h"

#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

int64_t f32_peak(int64_t rounds, float* sink) {
  // Enough independent chains to cover the latency, few enough to stay in registers.
  constexpr int kChains = (kVectorRegisters == 32 ? 16 : 12) / kRegistersPerVec16;
  const Vec16 factor = broadcast(0.999f), term = broadcast(0.001f);
  Vec16 chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = broadcast(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round)
    for (Vec16& chain : chains) chain = fma(chain, factor, term);
  Vec16 sum = zero();
  for (const Vec16 chain : chains) sum = sum + chain;
  *sink = reduce_add(sum);
  return rounds * kChains * 16 * 2;
}

void read_peak(const float* data, int64_t count, float* sink) {
  Vec16 sums[4] = {zero(), zero(), zero(), zero()};
  for (int64_t i = 0; i < count; i += 64) {
    for (int lane = 0; lane < 4; ++lane) sums[lane] = sums[lane] + load(data + i + lane * 16);
  }
  *sink = reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace bertie::cpu::BERTIE_ISA
