// Where a step's rows go, as floats, in eight bits or as both (network/quantized_output.h).
#pragma once

#include <cmath>

#include "cuda/kernels/quantized_rows.h"
#include "cuda/step.h"
#include "network/element.h"
#include "network/quantized_output.h"

namespace bertie::cuda {

class RowOutput : public QuantizedOutput {
 public:
  explicit RowOutput(Operands& operands) : QuantizedOutput(operands.node()), quantization_(quantization_input(operands.node())) {
    if (!fixed) return;
    operands.want(quantization_, DType::f32, "the quantization");
    if (const auto& constant = operands.value(quantization_).constant) inverse_ = one_inverse(constant->view());
  }

  // nullptr: in eight bits alone.
  void* y(const KernelContext& context) const { return floats ? context.outputs[0].data : nullptr; }
  QuantizedRows quantized(const KernelContext& context) const {
    QuantizedRows rows{};
    if (!integers) return rows;
    rows.values = context.outputs[values()].as<int8_t>();
    rows.e4m3 = e4m3;
    rows.inverse = inverse_;
    if (fixed)
      rows.quantization = context.inputs[quantization_].as<float>();
    else
      rows.scales = context.outputs[scales()].as<float>();
    return rows;
  }

 private:
  // As QuantizedRows has it, of [2, width].
  static float one_inverse(const TensorView& quantization) {
    const int64_t width = quantization.shape[1];
    if (width == 0) return 0;
    const auto inverse = static_cast<float>(element(quantization, 0));
    int exponent = 0;
    if (!(inverse >= 1 && inverse <= 0x1p15f) || std::frexp(inverse, &exponent) != 0.5f) return 0;
    for (int64_t k = 0; k < width; ++k) {
      if (element(quantization, k) != inverse || element(quantization, width + k) != 0) return 0;
    }
    return inverse;
  }

  size_t quantization_;  // input
  float inverse_ = 0;
};

}  // namespace bertie::cuda
