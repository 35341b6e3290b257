#include <cstring>

#include <fmt/format.h>

#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

class PackRows final : public Kernel {
 public:
  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& out = context.outputs[0];
    const PackedBatch& batch = context.batch;
    if (out.shape.elements() == 0) return;
    const size_t bytes = TensorView(out).bytes() / static_cast<size_t>(out.shape[0]);  // of a row
    const int64_t per_sequence = x.shape[0] == 1 ? 0 : x.shape[1], per_column = x.shape[1] == 1 ? 0 : 1;
    context.pool.parallel_for(batch.sequences, [&](int64_t b, int) {
      const int32_t begin = batch.cumulative_lengths[b], end = batch.cumulative_lengths[b + 1];
      const std::byte* sequence = x.as<std::byte>() + static_cast<size_t>(b * per_sequence) * bytes;
      for (int32_t token = begin; token < end; ++token) {
        const int64_t column = batch.columns ? batch.columns[token] : token - begin;
        std::memcpy(out.as<std::byte>() + static_cast<size_t>(token) * bytes,
                    sequence + static_cast<size_t>(column * per_column) * bytes, bytes);
      }
    });
  }
};

}  // namespace

PrepareResult prepare_pack_rows(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const DType from = request.network.value(request.node.inputs[0]).dtype;
    const DType to = request.network.value(request.node.outputs[0]).dtype;
    if (from != to) throw Refused{fmt::format("x is {}, not {}", dtype_name(from), dtype_name(to))};
    return Preparation{std::make_unique<PackRows>(), "rows copied, a sequence a task"};
  });
}

}  // namespace bertie::cpu
