// What the reference kernels share: a step made of one function, reading any dtype, and scalar functions in double.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "backend/kernel.h"
#include "base/float16.h"
#include "network/op.h"

namespace bertie::reference {

// A step that is one function of its context, with as many bytes of workspace for each thread.
template <typename Run>
PrepareResult take(Run run, size_t bytes_per_thread = 0) {
  class FunctionKernel final : public Kernel {
   public:
    FunctionKernel(Run run, size_t bytes_per_thread) : run_(std::move(run)), bytes_per_thread_(bytes_per_thread) {}
    void run(const KernelContext& context) const override { run_(context); }
    size_t workspace_bytes(const BatchLimits&, int threads) const override {
      return bytes_per_thread_ * static_cast<size_t>(threads);
    }

   private:
    Run run_;
    size_t bytes_per_thread_;
  };
  return Preparation{std::make_unique<FunctionKernel>(std::move(run), bytes_per_thread), "plain loops"};
}

template <typename T>
T widen(T value) {
  return value;
}
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

// Element `index` of an integer or bool tensor.
inline int64_t integer(const TensorView& view, int64_t index) {
  switch (view.dtype) {
    case DType::i8: return view.as<int8_t>()[index];
    case DType::u8: return view.as<uint8_t>()[index];
    case DType::boolean: return view.as<uint8_t>()[index] != 0;
    case DType::i32: return view.as<int32_t>()[index];
    default: return view.as<int64_t>()[index];
  }
}

// Element `index` of a tensor of any dtype.
inline double number(const TensorView& view, int64_t index) {
  if (!is_float(view.dtype)) return static_cast<double>(integer(view, index));
  return with_floats(view, [&](auto* data) -> double { return widen(data[index]); });
}

// Input `index` of a step, empty where it is left out.
inline TensorView input(const KernelContext& context, size_t index) {
  return index < context.inputs.size() ? context.inputs[index] : TensorView{};
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

// One of linear's activations, or of `unary`'s functions of a float that have no parameter. nullptr where there is none of this name.
using ScalarFunction = double (*)(double);
ScalarFunction scalar_function(std::string_view name);

}  // namespace bertie::reference
