// Modes of ops by the names that nodes give them. Each backend has enumerations of its own, which its kernels are compiled with.
#pragma once

#include <string>

#include "backend/refused.h"

namespace bertie {

// Of linear layers. Throws Refused.
template <typename Activation>
Activation activation_named(const std::string& name) {
  if (name == "none") return Activation::none;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  if (name == "silu") return Activation::silu;
  if (name == "tanh") return Activation::tanh;
  throw Refused{"no activation " + name};
}

// Throws Refused.
template <typename PoolMode>
PoolMode pool_mode_named(const std::string& name) {
  if (name == "mean") return PoolMode::mean;
  if (name == "cls") return PoolMode::cls;
  if (name == "max") return PoolMode::max;
  if (name == "mean_sqrt_length") return PoolMode::mean_sqrt_length;
  throw Refused{"no pooling mode " + name};
}

}  // namespace bertie
