// u8 levels over the range of the whole tensor, or of each row, widened to hold 0. All in f32; zeros alone have scale 1.
#include <algorithm>
#include <cmath>

#include "reference/elements.h"
#include "reference/ops.h"
#include "reference/scales.h"

namespace bertie::reference {
namespace {

// Elements [begin, end) of x, whose scale and zero point go to place `range`.
void quantize(const KernelContext& context, int64_t begin, int64_t end, int64_t range) {
  const TensorView& x = context.inputs[0];
  float low = 0;
  float high = 0;
  for (int64_t i = begin; i < end; ++i) {
    const float value = static_cast<float>(number(x, i));
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const float scale = high == low ? 1.0f : (high - low) / 255;
  const uint8_t zero_point = quantized<uint8_t>(-low / scale, 0);
  for (int64_t i = begin; i < end; ++i)
    context.outputs[0].as<uint8_t>()[i] = quantized<uint8_t>(static_cast<float>(number(x, i)) / scale, zero_point);
  context.outputs[1].as<float>()[range] = scale;
  context.outputs[2].as<uint8_t>()[range] = zero_point;
}

}  // namespace

PrepareResult prepare_dynamic_quantize_linear(const KernelRequest& request) {
  const bool per_row = request.node.integer("per_row") != 0;
  return take([per_row](const KernelContext& context) {
    const Shape& x = context.inputs[0].shape;
    const int64_t ranges = per_row ? context.outputs[1].shape.elements() : 1;
    const int64_t width = per_row ? x.back() : x.elements();
    for (int64_t range = 0; range < ranges; ++range) quantize(context, range * width, (range + 1) * width, range);
  });
}

}  // namespace bertie::reference
