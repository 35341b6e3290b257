// Between floats, integers and bool. Floats become f32 whatever width is named; a float is truncated to an integer, an integer that does
// not fit drops its high bits, and what is not 0 is true.
#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

void cast(const KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& out = context.outputs[0];
  const int64_t count = x.shape.elements();
  if (x.dtype == out.dtype || (is_float(x.dtype) && is_float(out.dtype))) return copy_elements(x, out);
  if (is_float(out.dtype)) {
    for (int64_t i = 0; i < count; ++i) out.as<float>()[i] = static_cast<float>(integer(x, i));
  } else if (out.dtype == DType::boolean) {
    for (int64_t i = 0; i < count; ++i) out.as<uint8_t>()[i] = is_float(x.dtype) ? number(x, i) != 0 : integer(x, i) != 0;
  } else {
    with_integer_type(out.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      for (int64_t i = 0; i < count; ++i)
        out.as<T>()[i] = is_float(x.dtype) ? to_integer<T>(number(x, i)) : static_cast<T>(integer(x, i));
    });
  }
}

}  // namespace

PrepareResult prepare_cast(const KernelRequest&) { return take(cast); }

}  // namespace bertie::reference
