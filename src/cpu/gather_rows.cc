// embedding and gather_rows: rows by id, widened to float32.
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

class Gather final : public Kernel {
 public:
  Gather(FloatType type, bool wide) : kernels_(*active_isa().kernels), type_(type), wide_(wide) {}

  void run(const KernelContext& context) const override {
    const TensorView& table = context.inputs[0];
    const TensorView& ids = context.inputs[1];
    const GatherRows rows{{table.data, ids.data, type_, wide_}, table.shape[0], table.shape[1], context.outputs[0].as<float>()};
    for_row_pieces(context.pool, ids.shape.elements(), rows.extent,
                   [&](int64_t begin, int64_t end) { kernels_.gather_rows(rows, begin, end); });
  }

 private:
  const IsaKernels& kernels_;
  FloatType type_;
  bool wide_;
};

PrepareResult prepare_gather_kernel(const KernelRequest& request, std::string_view table) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    return Preparation{std::make_unique<Gather>(operands.float_type(0, table), operands.value(1).dtype == DType::i64),
                       "rows read where they lie"};
  });
}

}  // namespace

PrepareResult prepare_embedding(const KernelRequest& request) { return prepare_gather_kernel(request, "the table"); }
PrepareResult prepare_gather_rows(const KernelRequest& request) { return prepare_gather_kernel(request, "x"); }

}  // namespace bertie::cpu
