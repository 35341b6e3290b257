// Where a step's rows go, as floats, in eight bits or as both (network/quantized_output.h).
#pragma once

#include "cuda/kernels/quantized_rows.h"
#include "cuda/step.h"
#include "network/quantized_output.h"

namespace bertie::cuda {

class RowOutput : public QuantizedOutput {
 public:
  explicit RowOutput(Operands& operands) : QuantizedOutput(operands.node()), quantization_(quantization_input(operands.node())) {
    if (fixed) operands.want(quantization_, DType::f32, "the quantization");
  }

  // nullptr: as integers alone.
  void* y(const KernelContext& context) const { return floats ? context.outputs[0].data : nullptr; }
  QuantizedRows quantized(const KernelContext& context) const {
    QuantizedRows rows{};
    if (!integers) return rows;
    rows.values = context.outputs[values()].as<int8_t>();
    rows.e4m3 = e4m3;
    if (fixed)
      rows.quantization = context.inputs[quantization_].as<float>();
    else
      rows.scales = context.outputs[scales()].as<float>();
    return rows;
  }

 private:
  size_t quantization_;  // input
};

}  // namespace bertie::cuda
