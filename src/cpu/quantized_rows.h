// Where a step's rows go as eight-bit integers (network/quantized_output.h).
#pragma once

#include <vector>

#include "cpu/kernels/quantize_rows.h"
#include "cpu/operands.h"
#include "network/quantized_output.h"

namespace bertie::cpu {

// quantization [2, K]: inverse scales, then offsets.
struct FixedQuantization {
  FixedQuantization() = default;
  FixedQuantization(const Operands& operands, size_t input) {
    inverse = operands.constant(input, "the quantization");
    const auto half = inverse.begin() + static_cast<ptrdiff_t>(inverse.size() / 2);
    offset.assign(half, inverse.end());
    inverse.erase(half, inverse.end());
  }
  size_t bytes() const { return (inverse.size() + offset.size()) * sizeof(float); }
  std::vector<float> inverse, offset;
};

class QuantizedRows : public QuantizedOutput {
 public:
  explicit QuantizedRows(const KernelRequest& request) : QuantizedOutput(request.node) {
    if (integers && e4m3) throw Refused{"rows of e4m3"};
    if (fixed) fixed_ = FixedQuantization(Operands(request), quantization_input(request.node));
  }
  // Into the step's outputs, rows of `extent` floats at x; of nothing where they are not given as integers.
  QuantizeRows of(const KernelContext& context, const float* x, int64_t x_stride, int64_t extent) const {
    QuantizeRows rows = {x, x_stride, extent, nullptr, nullptr, nullptr, nullptr};
    if (integers) rows.values = context.outputs[values()].as<int8_t>();
    if (fixed) {
      rows.inverse = fixed_.inverse.data();
      rows.offset = fixed_.offset.data();
    } else if (integers) {
      rows.scales = context.outputs[scales()].as<float>();
    }
    return rows;
  }
  size_t bytes() const { return fixed_.bytes(); }

 private:
  FixedQuantization fixed_;
};

// The same from row `row` of the output on.
inline QuantizeRows from_row(QuantizeRows rows, int64_t row) {
  rows.values += row * rows.extent;
  if (rows.scales) rows.scales += row;
  return rows;
}

}  // namespace bertie::cpu
