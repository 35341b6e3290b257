#include "cuda/kernels/pack_rows.h"

#include "cuda/copy_step.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

class PackRows final : public Step {
 public:
  PackRows(Operands& operands, DType kept) : Step(operands, kept), launcher_(device().launcher<PackRowsParams>("pack_rows")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const TensorView y = context.outputs[0];
    PackRowsParams params{};
    params.x = x.data;
    params.y = context.outputs[0].data;
    params.tokens = y.shape[0];
    params.sequences = context.batch.sequences;
    params.row_bytes = params.tokens > 0 ? static_cast<int64_t>(y.bytes()) / params.tokens : 0;
    params.per_sequence = x.shape[0] == 1 ? 0 : x.shape[1];
    params.per_column = x.shape[1] == 1 ? 0 : 1;
    params.cumulative_lengths = context.batch.cumulative_lengths;
    params.columns = context.batch.columns;
    params.live_tokens = context.device->tokens;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  Launcher<PackRowsParams> launcher_;
};

}  // namespace

PrepareResult prepare_pack_rows(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const DType kept = want_kept(operands, 0, "x");
    return Preparation{std::make_unique<PackRows>(operands, kept), "rows copied whole"};
  });
}

}  // namespace bertie::cuda
