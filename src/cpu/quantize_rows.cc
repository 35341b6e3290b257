// quantize_rows: rows shared between the threads.
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"
#include "cpu/quantized_rows.h"

namespace bertie::cpu {
namespace {

class QuantizeRowsKernel final : public Kernel {
 public:
  explicit QuantizeRowsKernel(const KernelRequest& request) : kernels_(kernels_of(request)) {
    const Operands operands(request);
    if (operands.has(1)) fixed_ = FixedQuantization(operands, 1);
  }

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const int64_t extent = x.shape.back();
    const bool fixed = context.outputs.size() == 1;
    const QuantizeRows rows = {x.as<float>(),
                               extent,
                               extent,
                               context.outputs[0].as<int8_t>(),
                               fixed ? nullptr : context.outputs[1].as<float>(),
                               fixed_.inverse.data(),
                               fixed_.offset.data()};
    for_row_pieces(context.pool, row_count(x.shape), extent,
                   [&](int64_t begin, int64_t end) { kernels_.quantize_rows(rows, begin, end); });
  }
  size_t packed_bytes() const override { return fixed_.bytes(); }

 private:
  const IsaKernels& kernels_;
  FixedQuantization fixed_;
};

}  // namespace

PrepareResult prepare_quantize_rows(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands(request).require_f32(0, "x");
    if (quantizes_to_e4m3(request.node)) throw Refused{"rows of e4m3"};
    return Preparation{std::make_unique<QuantizeRowsKernel>(request), request.node.input(1) == kNone
                                                                          ? "two passes over rows in the first-level cache"
                                                                          : "one pass, by fixed scales"};
  });
}

}  // namespace bertie::cpu
