// Writing an update where something is already: replacing it, or taking both.
#pragma once

#include <algorithm>
#include <string>

#include "reference/elements.h"

namespace bertie::reference {

enum class Reduction { none, add, mul, min, max };

inline Reduction reduction_named(const std::string& name) {
  if (name == "add") return Reduction::add;
  if (name == "mul") return Reduction::mul;
  if (name == "min") return Reduction::min;
  if (name == "max") return Reduction::max;
  return Reduction::none;
}

template <typename T>
T reduced(Reduction reduction, T a, T b) {
  const auto wrapped = [](auto value) { return static_cast<T>(value); };
  switch (reduction) {
    case Reduction::none: break;
    case Reduction::min: return std::min(a, b);
    case Reduction::max: return std::max(a, b);
    case Reduction::add:
      if constexpr (std::is_floating_point_v<T>) return a + b;
      return wrapped(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    case Reduction::mul:
      if constexpr (std::is_floating_point_v<T>) return a * b;
      return wrapped(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
  return b;
}

// Calls body(write), where write(to, from) brings element `from` of the updates to element `to` of the result.
template <typename Body>
void with_scatter(Reduction reduction, const TensorView& updates, const MutableTensorView& out, Body&& body) {
  if (is_float(out.dtype)) {
    body([&, data = out.as<float>()](int64_t to, int64_t from) {
      data[to] = reduced(reduction, data[to], static_cast<float>(number(updates, from)));
    });
    return;
  }
  with_integer_type(out.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    body([&, data = out.as<T>()](int64_t to, int64_t from) { data[to] = reduced(reduction, data[to], updates.as<T>()[from]); });
  });
}

}  // namespace bertie::reference
