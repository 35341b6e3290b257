// The activations of linear layers by their names.
#pragma once

#include <optional>
#include <string_view>

#include "cpu/kernels/gemm.h"

namespace bertie::cpu {

inline std::optional<Activation> activation_named(std::string_view name) {
  if (name == "none") return Activation::none;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  if (name == "silu") return Activation::silu;
  if (name == "tanh") return Activation::tanh;
  return std::nullopt;
}

}  // namespace bertie::cpu
