// What linear layers and matrix products share.
#pragma once

#include <cstddef>

#include "backend/mode_names.h"
#include "cuda/kernels/activation.h"
#include "cuda/step.h"

namespace bertie::cuda {

// Room for the partial sums of products that are split over K; cuBLASLt's own recommendation for Hopper.
inline constexpr size_t kProductWorkspace = size_t{32} << 20;

inline Activation activation_of(const Node& node) { return activation_named<Activation>(node.text("activation", "none")); }

}  // namespace bertie::cuda
