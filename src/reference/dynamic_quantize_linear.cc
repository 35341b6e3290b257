// u8 levels over the range of the whole tensor, widened to hold 0. All in f32; a tensor of zeros has scale 1.
#include <algorithm>
#include <cmath>

#include "reference/elements.h"
#include "reference/ops.h"
#include "reference/scales.h"

namespace bertie::reference {

PrepareResult prepare_dynamic_quantize_linear(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    float low = 0;
    float high = 0;
    for (int64_t i = 0; i < x.shape.elements(); ++i) {
      const float value = static_cast<float>(number(x, i));
      low = std::min(low, value);
      high = std::max(high, value);
    }
    const float scale = high == low ? 1.0f : (high - low) / 255;
    const uint8_t zero_point = quantized<uint8_t>(-low / scale, 0);
    for (int64_t i = 0; i < x.shape.elements(); ++i)
      context.outputs[0].as<uint8_t>()[i] = quantized<uint8_t>(static_cast<float>(number(x, i)) / scale, zero_point);
    context.outputs[1].as<float>()[0] = scale;
    context.outputs[2].as<uint8_t>()[0] = zero_point;
  });
}

}  // namespace bertie::reference
