// What the reference kernels share: a step made of one function, reading any dtype, and scalar functions in double.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "backend/kernel.h"
#include "base/float16.h"

namespace bertie::reference {

// A step that is one function of its context.
template <typename Run>
PrepareResult take(Run run) {
  class FunctionKernel final : public Kernel {
   public:
    explicit FunctionKernel(Run run) : run_(std::move(run)) {}
    void run(const KernelContext& context) const override { run_(context); }

   private:
    Run run_;
  };
  return Preparation{std::make_unique<FunctionKernel>(std::move(run)), "plain loops"};
}

// Ops that also have integer and bool results in the vocabulary are computed here for floats.
inline bool gives_f32(const KernelRequest& request) { return request.network.value(request.node.outputs[0]).dtype == DType::f32; }

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
struct Half {
  uint16_t bits;
};
struct Bfloat16 {
  uint16_t bits;
};
inline float widen(Half value) { return f16_to_float(value.bits); }
inline float widen(Bfloat16 value) { return bf16_to_float(value.bits); }

// Calls function(data) with `view`'s data as const float*, const Half*, const Bfloat16* or const double*.
template <typename Function>
auto with_floats(const TensorView& view, Function&& function) {
  switch (view.dtype) {
    case DType::f16: return function(view.as<Half>());
    case DType::bf16: return function(view.as<Bfloat16>());
    case DType::f64: return function(view.as<double>());
    default: return function(view.as<float>());
  }
}

// Element `index` of a floating tensor.
inline double number(const TensorView& view, int64_t index) {
  return with_floats(view, [&](auto* data) -> double { return widen(data[index]); });
}

// Element `index` of an i32 or i64 tensor.
inline int64_t integer(const TensorView& view, int64_t index) {
  return view.dtype == DType::i64 ? view.as<int64_t>()[index] : view.as<int32_t>()[index];
}

// Whether element `index` of a mask is not zero. An absent mask attends to all.
bool attended(const TensorView& mask, int64_t index);

// Rows of a tensor seen as [rows, last extent].
inline int64_t row_count(const Shape& shape) {
  int64_t rows = 1;
  for (int axis = 0; axis + 1 < shape.rank(); ++axis) rows *= shape[axis];
  return rows;
}

double gelu(double x);       // x/2 (1 + erf(x / sqrt 2))
double gelu_tanh(double x);  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))

// One of `unary`'s functions, or linear's activations "none", "gelu", "gelu_tanh". Throws Error(unsupported).
using ScalarFunction = double (*)(double);
ScalarFunction scalar_function(std::string_view name);

}  // namespace bertie::reference
