// warp_layer_norm: any_layer_norm's function for rows of whole 16-byte vectors that a warp's registers hold.
#pragma once

#include "cuda/kernels/any_layer_norm.h"

namespace bertie::cuda {

constexpr int64_t kWarpLayerNormWidest = 1024;  // elements

inline bool warp_layer_norm_takes(Element element, int64_t width) {
  return width > 0 && width <= kWarpLayerNormWidest && width % (element == Element::f32 ? 4 : 8) == 0;
}

// As any_layer_norm, save that all its addresses but those of ids are 16-byte aligned.
cudaError_t launch_warp_layer_norm(const AnyLayerNormParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
