// (saturate(round half to even(x / scale) + zero_point) - zero_point) * scale, the division and the product in f32; or by row.
#include "quant/int8.h"
#include "reference/elements.h"
#include "reference/ops.h"
#include "reference/row_output.h"
#include "reference/scales.h"

namespace bertie::reference {
namespace {

void by_one_scale(const TensorView& x, const TensorView& scale, const TensorView& zero_point, float* out) {
  const float step = static_cast<float>(number(scale, 0));
  const int64_t zero = integer(zero_point, 0);
  with_integer_type(zero_point.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (int64_t i = 0; i < x.shape.elements(); ++i) {
      const int64_t level = quantized<T>(static_cast<float>(number(x, i)) / step, zero) - zero;
      out[i] = static_cast<float>(level) * step;
    }
  });
}

void by_row(const TensorView& x, float* out) {
  const int64_t extent = x.shape.back();
  std::vector<float> row(static_cast<size_t>(extent));
  std::vector<int8_t> values(row.size());
  for (int64_t r = 0; r < row_count(x.shape); ++r) {
    for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(number(x, r * extent + static_cast<int64_t>(i)));
    const float scale = quantize_int8(row, values.data());
    for (size_t i = 0; i < row.size(); ++i) out[r * extent + static_cast<int64_t>(i)] = values[i] * scale;
  }
}

}  // namespace

PrepareResult prepare_fake_quantize(const KernelRequest&) {
  return take([](const KernelContext& context) {
    float* out = context.outputs[0].as<float>();
    if (context.inputs.size() > 1) {
      by_one_scale(context.inputs[0], context.inputs[1], context.inputs[2], out);
    } else {
      by_row(context.inputs[0], out);
    }
  });
}

}  // namespace bertie::reference
