// A warpgroup's sums of products (hopper.cuh), rounded to 16 bits: what a tile keeps of them while the next one's are added up.
#pragma once

#include <type_traits>

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {

// `pairs`: two neighbours each, of rows lane / 4 and that + 8 in turn, bias added. `biases`, `w_scales`: of the lane's first column, eight columns
// from one to the next. Where operands have eight bits (kScaled; wgmma_linear.h has the rule) sums count x_scales of the two rows, which
// are the same where `one_scale` says so, times the column's.
template <typename T, bool kScaled, typename Sum, int kSums>
__device__ inline void round_sums(const Sum (&sums)[kSums], const float* biases, const float* w_scales,
                                  const float (&x_scales)[2], bool one_scale, uint32_t (&pairs)[kSums / 2]) {
  const auto round = [&](auto same) {
#pragma unroll
    for (int i = 0; i < kSums / 4; ++i) {
      const float2 bias = *reinterpret_cast<const float2*>(biases + i * 8);
      float2 scales[2] = {};
      if constexpr (kScaled) {
        const float2 scale = *reinterpret_cast<const float2*>(w_scales + i * 8);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          scales[half] = half == 1 && same.value ? scales[0]
                                                 : float2{__fmul_rn(x_scales[half], scale.x), __fmul_rn(x_scales[half], scale.y)};
        }
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto low = static_cast<float>(sums[i * 4 + half * 2]), high = static_cast<float>(sums[i * 4 + half * 2 + 1]);
        pairs[i * 2 + half] = kScaled ? pair<T>(fmaf(low, scales[half].x, bias.x), fmaf(high, scales[half].y, bias.y))
                                      : pair<T>(low + bias.x, high + bias.y);
      }
    }
  };
  if (kScaled && !one_scale)
    round(std::false_type{});
  else
    round(std::true_type{});
}

}  // namespace bertie::cuda
