// Rows of a result that may be given as floats, in eight bits, or as both (network/quantized_output.h).
#pragma once

#include "network/quantized_output.h"
#include "quant/fp8.h"
#include "quant/int8.h"
#include "reference/kernel.h"

namespace bertie::reference {

// A row as row `row` of `values`, i8 or codes of e4m3 in u8. `quantization` [2, K], of any float type.
inline void quantize_fixed(std::span<const float> floats, const TensorView& quantization, const MutableTensorView& values,
                           int64_t row) {
  const auto extent = static_cast<int64_t>(floats.size());
  for (int64_t i = 0; i < extent; ++i) {
    const float x = floats[static_cast<size_t>(i)], inverse = static_cast<float>(number(quantization, i)),
                offset = static_cast<float>(number(quantization, extent + i));
    if (values.dtype == DType::u8)
      values.as<uint8_t>()[row * extent + i] = to_fp8_fixed(x, inverse, offset);
    else
      values.as<int8_t>()[row * extent + i] = to_int8_fixed(x, inverse, offset);
  }
}

// The same with a scale of the row's own, which it returns.
inline float quantize_row(std::span<const float> floats, const MutableTensorView& values, int64_t row) {
  const int64_t first = row * static_cast<int64_t>(floats.size());
  return values.dtype == DType::u8 ? quantize_fp8(floats, values.as<uint8_t>() + first)
                                   : quantize_int8(floats, values.as<int8_t>() + first);
}

class RowOutput {
 public:
  explicit RowOutput(const KernelRequest& request)
      : output_(request.node),
        quantization_(quantization_input(request.node)),
        extent_(request.network.value(request.node.outputs[0]).shape.back().size) {}

  // Floats of a row that is not given as such.
  size_t bytes_per_thread() const { return output_.floats ? 0 : static_cast<size_t>(extent_) * sizeof(float); }

  // fill(floats) writes the row. `scratch`: bytes_per_thread() of this thread.
  template <typename Fill>
  void write(const KernelContext& context, int64_t row, std::byte* scratch, Fill fill) const {
    const int64_t extent = context.outputs[0].shape.back();
    float* floats = output_.floats ? context.outputs[0].as<float>() + row * extent : reinterpret_cast<float*>(scratch);
    fill(floats);
    if (!output_.integers) return;
    const std::span<const float> rows(floats, static_cast<size_t>(extent));
    const MutableTensorView& values = context.outputs[output_.values()];
    if (output_.fixed) {
      quantize_fixed(rows, context.inputs[quantization_], values, row);
    } else {
      context.outputs[output_.scales()].as<float>()[row] = quantize_row(rows, values, row);
    }
  }

 private:
  QuantizedOutput output_;
  size_t quantization_;  // input
  int64_t extent_;       // fixed where rows are quantised
};

}  // namespace bertie::reference
