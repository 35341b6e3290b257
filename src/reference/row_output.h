// Rows of a result that may be given as floats, as eight-bit integers, or as both (network/quantized_output.h).
#pragma once

#include "network/quantized_output.h"
#include "quant/int8.h"
#include "reference/kernel.h"

namespace bertie::reference {

class RowOutput {
 public:
  explicit RowOutput(const KernelRequest& request)
      : output_(request.node), extent_(request.network.value(request.node.outputs[0]).shape.back().size) {}

  // Floats of a row that is not given as such.
  size_t bytes_per_thread() const { return output_.floats ? 0 : static_cast<size_t>(extent_) * sizeof(float); }

  // fill(floats) writes the row. `scratch`: bytes_per_thread() of this thread.
  template <typename Fill>
  void write(const KernelContext& context, int64_t row, std::byte* scratch, Fill fill) const {
    const int64_t extent = context.outputs[0].shape.back();
    float* floats = output_.floats ? context.outputs[0].as<float>() + row * extent : reinterpret_cast<float*>(scratch);
    fill(floats);
    if (!output_.rows) return;
    context.outputs[output_.scales()].as<float>()[row] =
        quantize_int8({floats, static_cast<size_t>(extent)}, context.outputs[output_.values()].as<int8_t>() + row * extent);
  }

 private:
  QuantizedOutput output_;
  int64_t extent_;  // fixed where rows are quantised
};

}  // namespace bertie::reference
