// Fused: layer_norm(linear(x) + residual) * gamma + beta, the linear layer without activation: `linear`, or where x has eight bits, as
// int8_linear (i8) or fp8_linear (u8), which have scales.
#pragma once

#include "network/eight_bit_linear.h"

namespace bertie {

// Before these those of ScaledLinearInput, of which the scales are left out where x is floating; behind them the quantization.
enum LinearSkipLayerNormInput : size_t { kLinearGamma = kLinearResidual + 1, kLinearBeta };

inline bool is_linear_skip_layer_norm(const Node& node) { return node.op == "linear_skip_layer_norm"; }

}  // namespace bertie
