// Functions of two tensors, broadcast. Floats of any width are computed in double; integers wrap, as two's complement does.
#include <cmath>

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

template <typename T>
constexpr bool kReal = std::is_floating_point_v<T>;

// An operation on the bits of integers that wraps, and on floats as it is.
template <typename T, typename Function>
T wrapped(T a, T b, Function function) {
  if constexpr (kReal<T>) {
    return function(a, b);
  } else {
    return static_cast<T>(function(static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
  }
}

struct Add {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapped(a, b, [](auto x, auto y) { return x + y; });
  }
};
struct Sub {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapped(a, b, [](auto x, auto y) { return x - y; });
  }
};
struct Mul {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapped(a, b, [](auto x, auto y) { return x * y; });
  }
};
// Integers truncate towards zero; a divisor of 0, which ONNX leaves open, gives 0.
struct Div {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (kReal<T>) {
      return a / b;
    } else {
      if (b == 0) return 0;
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) return Sub()(T{0}, a);  // the smallest number has no negative
      return static_cast<T>(a / b);
    }
  }
};
// The remainder has the dividend's sign, as C's.
struct Fmod {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (kReal<T>) {
      return std::fmod(a, b);
    } else {
      return b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1)) ? T{0} : static_cast<T>(a % b);
    }
  }
};
// The remainder has the divisor's sign, as Python's.
struct Mod {
  template <typename T>
  T operator()(T a, T b) const {
    const T remainder = Fmod()(a, b);
    return remainder != 0 && (remainder < 0) != (b < 0) ? static_cast<T>(remainder + b) : remainder;
  }
};
// NaN wins.
struct Min {
  template <typename T>
  T operator()(T a, T b) const {
    return b != b || b < a ? b : a;
  }
};
struct Max {
  template <typename T>
  T operator()(T a, T b) const {
    return b != b || b > a ? b : a;
  }
};
struct And {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapped(a, b, [](auto x, auto y) { return x & y; });
  }
};
struct Or {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapped(a, b, [](auto x, auto y) { return x | y; });
  }
};
struct Xor {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapped(a, b, [](auto x, auto y) { return x ^ y; });
  }
};
struct Equal {
  template <typename T>
  bool operator()(T a, T b) const {
    return a == b;
  }
};
struct Greater {
  template <typename T>
  bool operator()(T a, T b) const {
    return a > b;
  }
};
struct GreaterOrEqual {
  template <typename T>
  bool operator()(T a, T b) const {
    return a >= b;
  }
};
struct Less {
  template <typename T>
  bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessOrEqual {
  template <typename T>
  bool operator()(T a, T b) const {
    return a <= b;
  }
};

// out[i] = function(a's element, b's element), for each place of the result.
template <typename Out, typename Function>
void for_each_pair(const KernelContext& context, Function function) {
  const MutableTensorView& out = context.outputs[0];
  const std::array<Strides, 2> strides = {broadcast_strides(context.inputs[0].shape, out.shape),
                                          broadcast_strides(context.inputs[1].shape, out.shape)};
  walk(out.shape, strides,
       [&](int64_t i, const std::array<int64_t, 2>& at) { out.as<Out>()[i] = static_cast<Out>(function(at[0], at[1])); });
}

constexpr auto kBitsOnly = [](auto function) {
  using F = decltype(function);
  return std::is_same_v<F, And> || std::is_same_v<F, Or> || std::is_same_v<F, Xor>;
};

template <typename Function>
PrepareResult take_function(Function function) {
  return take([function](const KernelContext& context) {
    const TensorView& a = context.inputs[0];
    const TensorView& b = context.inputs[1];
    constexpr bool kCompares = std::is_same_v<decltype(function(1, 1)), bool>;
    if (!is_float(a.dtype)) {
      with_integer_type(a.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        for_each_pair<std::conditional_t<kCompares, uint8_t, T>>(
            context, [&](int64_t i, int64_t k) { return function(a.as<T>()[i], b.as<T>()[k]); });
      });
      return;
    }
    if constexpr (!kBitsOnly(Function())) {
      using Out = std::conditional_t<kCompares, uint8_t, float>;
      if (a.dtype == DType::f32 && b.dtype == DType::f32) {
        for_each_pair<Out>(context, [&](int64_t i, int64_t k) {
          return function(static_cast<double>(a.as<float>()[i]), static_cast<double>(b.as<float>()[k]));
        });
      } else {
        for_each_pair<Out>(context, [&](int64_t i, int64_t k) { return function(number(a, i), number(b, k)); });
      }
    }
  });
}

// By squaring, modulo 2^64. A negative exponent leaves 1/x^n truncated: 0 but for 1 and -1.
int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  uint64_t result = 1;
  for (uint64_t factor = static_cast<uint64_t>(base); exponent > 0; exponent /= 2, factor *= factor) {
    if (exponent % 2 == 1) result *= factor;
  }
  return static_cast<int64_t>(result);
}

// The result has the base's dtype; the exponent may have another.
void power(const KernelContext& context) {
  const TensorView& a = context.inputs[0];
  const TensorView& b = context.inputs[1];
  if (is_float(a.dtype)) {
    return for_each_pair<float>(context, [&](int64_t i, int64_t k) { return std::pow(number(a, i), number(b, k)); });
  }
  with_integer_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if (is_float(b.dtype)) {
      for_each_pair<T>(context, [&](int64_t i, int64_t k) { return to_integer<T>(std::pow(number(a, i), number(b, k))); });
    } else {
      for_each_pair<T>(context, [&](int64_t i, int64_t k) { return integer_power(integer(a, i), integer(b, k)); });
    }
  });
}

}  // namespace

PrepareResult prepare_elementwise(const KernelRequest& request) {
  const std::string name = request.node.text("function");
  if (name == "add") return take_function(Add());
  if (name == "sub") return take_function(Sub());
  if (name == "mul") return take_function(Mul());
  if (name == "div") return take_function(Div());
  if (name == "pow") return take(power);
  if (name == "mod") return take_function(Mod());
  if (name == "fmod") return take_function(Fmod());
  if (name == "min") return take_function(Min());
  if (name == "max") return take_function(Max());
  if (name == "equal") return take_function(Equal());
  if (name == "greater") return take_function(Greater());
  if (name == "greater_or_equal") return take_function(GreaterOrEqual());
  if (name == "less") return take_function(Less());
  if (name == "less_or_equal") return take_function(LessOrEqual());
  if (name == "and" || name == "bitwise_and") return take_function(And());
  if (name == "or" || name == "bitwise_or") return take_function(Or());
  if (name == "xor" || name == "bitwise_xor") return take_function(Xor());
  fail(ErrorCode::unsupported, "reference: no elementwise function '{}'", name);
}

}  // namespace bertie::reference
