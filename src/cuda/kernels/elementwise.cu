// One element of y a thread and turn. The function is a number: every thread of a launch takes the same branch.
#include "cuda/kernels/elementwise.h"

#include <type_traits>

#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/numbers.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 256;

__device__ inline bool compare(Binary function, bool less, bool equal, bool greater, bool a, bool b) {
  switch (function) {
    case Binary::equal: return equal;
    case Binary::greater: return greater;
    case Binary::greater_or_equal: return greater || equal;
    case Binary::less: return less;
    case Binary::less_or_equal: return less || equal;
    case Binary::logical_and: return a && b;
    case Binary::logical_or: return a || b;
    default: return a != b;
  }
}

__device__ inline float apply(Binary function, float a, float b) {
  switch (function) {
    case Binary::add: return a + b;
    case Binary::sub: return a - b;
    case Binary::mul: return a * b;
    case Binary::div: return a / b;
    case Binary::pow: return powf(a, b);
    case Binary::min: return b != b || b < a ? b : a;
    case Binary::max: return b != b || b > a ? b : a;
    default: {
      const float remainder = fmodf(a, b);
      const bool other_sign = function == Binary::mod && remainder != 0.0f && (remainder < 0.0f) != (b < 0.0f);
      return other_sign ? remainder + b : remainder;
    }
  }
}

// Unsigned arithmetic wraps; a divisor of 0 gives 0.
template <typename T>
__device__ inline T apply_integers(Binary function, T a, T b) {
  using U = std::make_unsigned_t<T>;
  const U x = static_cast<U>(a), y = static_cast<U>(b);
  switch (function) {
    case Binary::add: return static_cast<T>(x + y);
    case Binary::sub: return static_cast<T>(x - y);
    case Binary::mul: return static_cast<T>(x * y);
    case Binary::div:
      if (b == 0) return 0;
      return std::is_signed_v<T> && b == static_cast<T>(-1) ? static_cast<T>(U{0} - x) : static_cast<T>(a / b);
    case Binary::pow: {
      if (b < 0) return a == 1 ? 1 : a == static_cast<T>(-1) ? (b % 2 == 0 ? T{1} : static_cast<T>(-1)) : T{0};
      U result = 1, base = x;
      for (T left = b; left > 0; left /= 2) {
        if (left % 2 == 1) result *= base;
        base *= base;
      }
      return static_cast<T>(result);
    }
    case Binary::min: return b < a ? b : a;
    case Binary::max: return b > a ? b : a;
    case Binary::bitwise_and: return a & b;
    case Binary::bitwise_or: return a | b;
    case Binary::bitwise_xor: return a ^ b;
    default: {
      if (b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1))) return 0;
      const T remainder = static_cast<T>(a % b);
      const bool other_sign = function == Binary::mod && remainder != 0 && (remainder < 0) != (b < 0);
      return other_sign ? static_cast<T>(remainder + b) : remainder;
    }
  }
}

template <typename T>
__global__ void elementwise(ElementwiseParams p) {
  const bool compares = p.function >= Binary::equal && p.function <= Binary::logical_xor;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < p.count; i += gridDim.x * int64_t{blockDim.x}) {
    int64_t left = i, at_a = 0, at_b = 0;
    for (int axis = p.axes - 1; axis >= 0; --axis) {
      const int64_t place = left % p.extents[axis];
      left /= p.extents[axis];
      at_a += place * p.a_strides[axis];
      at_b += place * p.b_strides[axis];
    }
    const T a = static_cast<const T*>(p.a)[at_a], b = static_cast<const T*>(p.b)[at_b];
    if (compares) {
      static_cast<uint8_t*>(p.y)[i] = compare(p.function, a<b, a == b, a> b, a != T{0}, b != T{0});
    } else if constexpr (std::is_same_v<T, float>) {
      static_cast<float*>(p.y)[i] = apply(p.function, a, b);
    } else {
      static_cast<T*>(p.y)[i] = apply_integers(p.function, a, b);
    }
  }
}

__device__ inline float apply(const UnaryParams& p, float x) {
  switch (p.function) {
    case Unary::relu: return x < 0.0f ? 0.0f : x;
    case Unary::silu: return x / (1.0f + expf(-x));
    case Unary::tanh: return tanhf(x);
    case Unary::sigmoid: return 1.0f / (1.0f + expf(-x));
    case Unary::softplus: return x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x));
    case Unary::softsign: return x / (1.0f + fabsf(x));
    case Unary::mish: return x * tanhf(x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x)));
    case Unary::hard_swish: return x * fminf(fmaxf(x / 6.0f + 0.5f, 0.0f), 1.0f);
    case Unary::erf: return erff(x);
    case Unary::exp: return expf(x);
    case Unary::log: return logf(x);
    case Unary::sqrt: return sqrtf(x);
    case Unary::reciprocal: return 1.0f / x;
    case Unary::sin: return sinf(x);
    case Unary::cos: return cosf(x);
    case Unary::tan: return tanf(x);
    case Unary::asin: return asinf(x);
    case Unary::acos: return acosf(x);
    case Unary::atan: return atanf(x);
    case Unary::sinh: return sinhf(x);
    case Unary::cosh: return coshf(x);
    case Unary::asinh: return asinhf(x);
    case Unary::acosh: return acoshf(x);
    case Unary::atanh: return atanhf(x);
    case Unary::neg: return -x;
    case Unary::abs: return fabsf(x);
    case Unary::sign: return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;  // zeros and NaN stay
    case Unary::floor: return floorf(x);
    case Unary::ceil: return ceilf(x);
    case Unary::round: return rintf(x);
    case Unary::leaky_relu: return x < 0.0f ? p.alpha * x : x;
    case Unary::elu: return x < 0.0f ? p.alpha * expm1f(x) : x;
    case Unary::celu: return fmaxf(0.0f, x) + fminf(0.0f, p.alpha * expm1f(x / p.alpha));
    case Unary::selu: return p.beta * (x > 0.0f ? x : p.alpha * expm1f(x));
    case Unary::thresholded_relu: return x > p.alpha ? x : 0.0f;
    case Unary::hard_sigmoid: return fminf(fmaxf(p.alpha * x + p.beta, 0.0f), 1.0f);
    default: return x;
  }
}

template <typename T>
__device__ inline T apply_integers(Unary function, T x) {
  using U = std::make_unsigned_t<T>;
  switch (function) {
    case Unary::neg: return static_cast<T>(U{0} - static_cast<U>(x));
    case Unary::abs: return x < 0 ? static_cast<T>(U{0} - static_cast<U>(x)) : x;
    case Unary::sign: return static_cast<T>((x > 0) - (x < 0));
    case Unary::relu: return x < 0 ? 0 : x;
    case Unary::bitwise_not: return static_cast<T>(~x);
    default: return x;
  }
}

template <typename T>
__global__ void unary(UnaryParams p) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < p.count; i += gridDim.x * int64_t{blockDim.x}) {
    const T x = static_cast<const T*>(p.x)[i];
    if (p.function == Unary::logical_not) {
      static_cast<uint8_t*>(p.y)[i] = x == T{0};
    } else if constexpr (!std::is_same_v<T, float>) {
      static_cast<T*>(p.y)[i] = apply_integers(p.function, x);
    } else if (p.function == Unary::is_nan) {
      static_cast<uint8_t*>(p.y)[i] = x != x;
    } else if (p.function == Unary::is_inf) {
      static_cast<uint8_t*>(p.y)[i] = isinf(x) && (x > 0.0f ? p.positive : p.negative) != 0;
    } else {
      static_cast<float*>(p.y)[i] = apply(p, x);
    }
  }
}

}  // namespace

cudaError_t launch_elementwise(const ElementwiseParams& p, cudaStream_t stream) {
  if (p.count == 0) return cudaSuccess;
  return with_number(p.number, [&](auto zero) {
    elementwise<decltype(zero)><<<blocks_for(p.count, kThreads), kThreads, 0, stream>>>(p);
    return cudaGetLastError();
  });
}

cudaError_t launch_unary(const UnaryParams& p, cudaStream_t stream) {
  if (p.count == 0) return cudaSuccess;
  return with_number(p.number, [&](auto zero) {
    unary<decltype(zero)><<<blocks_for(p.count, kThreads), kThreads, 0, stream>>>(p);
    return cudaGetLastError();
  });
}

}  // namespace bertie::cuda
