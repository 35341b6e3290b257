// Rows of a result that may be given as floats, as eight-bit integers, or as both (network/quantized_output.h).
#pragma once

#include "network/quantized_output.h"
#include "quant/int8.h"
#include "reference/kernel.h"

namespace bertie::reference {

// `quantization` [2, K], of any float type.
inline void quantize_fixed(std::span<const float> row, const TensorView& quantization, int8_t* values) {
  const auto extent = static_cast<int64_t>(row.size());
  for (int64_t i = 0; i < extent; ++i) {
    values[i] = to_int8_fixed(row[static_cast<size_t>(i)], static_cast<float>(number(quantization, i)),
                              static_cast<float>(number(quantization, extent + i)));
  }
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
    int8_t* values = context.outputs[output_.values()].as<int8_t>() + row * extent;
    if (output_.fixed) {
      quantize_fixed(rows, context.inputs[quantization_], values);
    } else {
      context.outputs[output_.scales()].as<float>()[row] = quantize_int8(rows, values);
    }
  }

 private:
  QuantizedOutput output_;
  size_t quantization_;  // input
  int64_t extent_;       // fixed where rows are quantised
};

}  // namespace bertie::reference
