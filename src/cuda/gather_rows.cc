// embedding and gather_rows: rows by id, as they lie.
#include "cuda/kernels/gather_rows.h"

#include "cuda/ops.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

class GatherRows final : public Step {
 public:
  explicit GatherRows(Operands& operands, DType kept)
      : Step(operands, kept), launcher_(device().launcher<GatherRowsParams>("gather_rows")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& table = context.inputs[0];
    const TensorView& ids = context.inputs[1];
    GatherRowsParams params{};
    params.table = table.data;
    params.ids = ids.data;
    params.wide_ids = ids.dtype == DType::i64;
    params.y = context.outputs[0].data;
    params.count = ids.shape.elements();
    params.row_bytes = table.shape.back() * static_cast<int64_t>(dtype_size(table.dtype));
    params.live_rows = ids.shape.rank() == 1 ? live(context) : nullptr;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  Launcher<GatherRowsParams> launcher_;
};

PrepareResult prepare_gather_kernel(const KernelRequest& request, std::string_view table) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    // What is computed stays as it lies; a table is kept as the step computes.
    const DType kept = operands.value(0).constant ? operands.computed() : operands.stored(0);
    operands.want(0, kept, table);
    operands.want_as_it_is(1);
    return Preparation{std::make_unique<GatherRows>(operands, kept), "rows copied whole"};
  });
}

}  // namespace

PrepareResult prepare_embedding(const KernelRequest& request) { return prepare_gather_kernel(request, "the table"); }
PrepareResult prepare_gather_rows(const KernelRequest& request) { return prepare_gather_kernel(request, "x"); }

}  // namespace bertie::cuda
