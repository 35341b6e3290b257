#include <fmt/format.h>

#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

constexpr int64_t kMost = 256;  // kept in order by insertion

class TopKLogSumExp final : public Kernel {
 public:
  explicit TopKLogSumExp(int64_t k) : k_(k) {}

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const TopKRows rows{x.as<float>(), x.shape.back(), k_, context.outputs[0].as<float>()};
    for_row_pieces(context.pool, row_count(x.shape), rows.extent,
                   [&](int64_t begin, int64_t end) { kernels_.top_k_log_sum_exp(rows, begin, end); });
  }

 private:
  const IsaKernels& kernels_ = *active_isa().kernels;
  int64_t k_;
};

}  // namespace

PrepareResult prepare_top_k_log_sum_exp(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands(request).require_f32(0, "x");
    const int64_t k = request.node.integer("k");
    if (k > kMost) throw Refused{fmt::format("{} of a row: at most {}", k, kMost)};
    return Preparation{std::make_unique<TopKLogSumExp>(k), "two passes over a row, 64 elements at a time"};
  });
}

}  // namespace bertie::cpu
