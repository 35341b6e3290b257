#include "backend/mode_names.h"
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

class Pool final : public Kernel {
 public:
  explicit Pool(PoolMode mode) : kernels_(*active_isa().kernels), mode_(mode) {}

  void run(const KernelContext& context) const override {
    constexpr int64_t kColumns = 256;  // of one task
    const TensorView& x = context.inputs[0];
    const bool packed = x.shape.rank() == 2;
    const int32_t* starts = context.batch.cumulative_lengths;
    const int64_t sequences = context.outputs[0].shape[0], extent = x.shape.back();
    const int64_t pieces = (extent + kColumns - 1) / kColumns;
    context.pool.parallel_for(sequences * pieces, [&](int64_t task, int) {
      const int64_t b = task / pieces, column = task % pieces * kColumns;
      const bool first = mode_ == PoolMode::cls;  // the first row, whether it is attended to or not
      const int64_t begin = !packed ? b * x.shape[1] : first ? starts[b] : context.batch.first_key(b);
      const int64_t length = packed ? starts[b + 1] - begin : x.shape[1];
      const PoolSequence sequence{x.as<float>() + begin * extent, length, extent, mode_,
                                  context.outputs[0].as<float>() + b * extent};
      kernels_.pool(sequence, column, column + kColumns < extent ? column + kColumns : extent);
    });
  }

 private:
  const IsaKernels& kernels_;
  PoolMode mode_;
};

}  // namespace

PrepareResult prepare_pool(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    operands.require_f32(0, "x");
    const PoolMode mode = pool_mode_named<PoolMode>(request.node.text("mode"));
    if (operands.has(1) && mode != PoolMode::cls) throw Refused{"a mask: packed rows need none"};
    return Preparation{std::make_unique<Pool>(mode), "columns of each sequence in registers"};
  });
}

}  // namespace bertie::cpu
