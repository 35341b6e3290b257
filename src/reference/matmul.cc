// Sums over K in its order: floats in double, integers modulo their width.
#include "reference/matmul.h"

#include <algorithm>

#include "reference/ops.h"

namespace bertie::reference {

MatmulPlan plan_matmul(const Shape& a, const Shape& b) {
  MatmulPlan plan;
  plan.depth = a.back();
  plan.rows = a.rank() > 1 ? a[a.rank() - 2] : 1;
  plan.columns = b.rank() > 1 ? b.back() : 1;
  const auto leading = [](const Shape& shape) {
    return Shape(std::span<const int64_t>(shape.begin(), static_cast<size_t>(std::max(shape.rank() - 2, 0))));
  };
  const Shape x = leading(a);
  const Shape y = leading(b);
  std::array<int64_t, Shape::kMaxRank> extents{};
  const int rank = std::max(x.rank(), y.rank());
  for (int axis = 1; axis <= rank; ++axis) {
    const int64_t own = axis <= x.rank() ? x[x.rank() - axis] : 1;
    const int64_t other = axis <= y.rank() ? y[y.rank() - axis] : 1;
    extents[static_cast<size_t>(rank - axis)] = own == 1 ? other : own;
  }
  plan.batch = Shape(std::span<const int64_t>(extents.data(), static_cast<size_t>(rank)));
  plan.strides = {broadcast_strides(x, plan.batch), broadcast_strides(y, plan.batch)};
  return plan;
}

namespace {

// out[row, :] = the sums over k of a[row, k] * b[k, :], 64 columns at a time.
template <typename Sum, typename A, typename B, typename Out>
void multiply_row(const MatmulPlan& plan, A a, B b, Out* out) {
  constexpr int64_t kBlock = 64;
  for (int64_t first = 0; first < plan.columns; first += kBlock) {
    const int64_t width = std::min(kBlock, plan.columns - first);
    Sum sums[kBlock] = {};
    for (int64_t k = 0; k < plan.depth; ++k) {
      const Sum factor = static_cast<Sum>(widen(a[k]));
      for (int64_t i = 0; i < width; ++i) sums[i] += factor * static_cast<Sum>(widen(b[k * plan.columns + first + i]));
    }
    for (int64_t i = 0; i < width; ++i) out[first + i] = static_cast<Out>(sums[i]);
  }
}

template <typename Sum, typename Out, typename A, typename B>
void multiply(const KernelContext& context, const A* a, const B* b) {
  const MatmulPlan plan = plan_matmul(context.inputs[0].shape, context.inputs[1].shape);
  Out* out = context.outputs[0].as<Out>();
  for_each_product(plan, [&](int64_t matrix, int64_t of_a, int64_t of_b) {
    context.pool.parallel_for(plan.rows, [&](int64_t row, int) {
      multiply_row<Sum>(plan, a + (of_a * plan.rows + row) * plan.depth, b + of_b * plan.depth * plan.columns,
                        out + (matrix * plan.rows + row) * plan.columns);
    });
  });
}

}  // namespace

PrepareResult prepare_matmul(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& a = context.inputs[0];
    const TensorView& b = context.inputs[1];
    if (is_float(a.dtype)) {
      with_floats(a, [&](auto* x) { with_floats(b, [&](auto* y) { multiply<double, float>(context, x, y); }); });
    } else if (a.dtype == DType::i64) {
      multiply<uint64_t, int64_t>(context, a.as<uint64_t>(), b.as<uint64_t>());
    } else {
      multiply<uint32_t, int32_t>(context, a.as<uint32_t>(), b.as<uint32_t>());
    }
  });
}

}  // namespace bertie::reference
