// quantize_rows: rows shared between the threads.
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

class QuantizeRowsKernel final : public Kernel {
 public:
  explicit QuantizeRowsKernel(const IsaKernels& kernels) : kernels_(kernels) {}

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const int64_t extent = x.shape.back();
    const QuantizeRows rows = {x.as<float>(), extent, extent, context.outputs[0].as<int8_t>(), context.outputs[1].as<float>()};
    for_row_pieces(context.pool, row_count(x.shape), extent,
                   [&](int64_t begin, int64_t end) { kernels_.quantize_rows(rows, begin, end); });
  }

 private:
  const IsaKernels& kernels_;
};

}  // namespace

PrepareResult prepare_quantize_rows(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands(request).require_f32(0, "x");
    return Preparation{std::make_unique<QuantizeRowsKernel>(kernels_of(request)),
                       "two passes over rows in the first-level cache"};
  });
}

}  // namespace bertie::cpu
