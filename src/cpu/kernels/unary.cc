#include "cpu/kernels/unary.h"

#include "cpu/kernels/float_type.h"
#include "cpu/kernels/math.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

template <typename Function>
BERTIE_INLINE void apply(Function function, const float* x, float* out, int64_t count) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) store(out + i, function(load(x + i)));
  if (i < count) store_partial(out + i, function(load_partial(x + i, count - i)), count - i);
}

}  // namespace

void unary(UnaryFunction function, const float* x, float* out, int64_t count) {
  const auto with = [&](auto f) __attribute__((always_inline)) { apply(f, x, out, count); };
  switch (function) {
    case UnaryFunction::relu: return with([](Vec16 v) { return relu(v); });
    case UnaryFunction::silu: return with([](Vec16 v) { return silu(v); });
    case UnaryFunction::tanh: return with([](Vec16 v) { return tanh(v); });
    case UnaryFunction::sigmoid: return with([](Vec16 v) { return sigmoid(v); });
    case UnaryFunction::erf: return with([](Vec16 v) { return erf(v); });
    case UnaryFunction::exp: return with([](Vec16 v) { return exp(v); });
    case UnaryFunction::sqrt: return with([](Vec16 v) { return sqrt(v); });
    case UnaryFunction::reciprocal: return with([](Vec16 v) { return broadcast(1.0f) / v; });
    case UnaryFunction::neg: return with([](Vec16 v) { return negate(v); });
    case UnaryFunction::abs: return with([](Vec16 v) { return abs(v); });
    case UnaryFunction::gelu: return with([](Vec16 v) { return gelu_erf(v); });
    case UnaryFunction::gelu_tanh: return with([](Vec16 v) { return gelu_tanh(v); });
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
