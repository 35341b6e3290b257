// Sums of (a - a_zero_point) * (b - b_zero_point) in i32. A zero point is one number, one for each row of a, or one for each column of b.
#include "reference/matmul.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

// `place` of matrix `matrix`, whose rows (or columns) are `count`.
int64_t zero_point(const TensorView& points, int64_t matrix, int64_t count, int64_t place) {
  if (!points.data) return 0;
  const int64_t given = points.shape.elements();
  if (given == 1) return integer(points, 0);
  return integer(points, given == count ? place : matrix * count + place);
}

}  // namespace

PrepareResult prepare_matmul_integer(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& a = context.inputs[0];
    const TensorView& b = context.inputs[1];
    const MatmulPlan plan = plan_matmul(a.shape, b.shape);
    for_each_product(plan, [&](int64_t matrix, int64_t of_a, int64_t of_b) {
      context.pool.parallel_for(plan.rows, [&](int64_t row, int) {
        const int64_t a_zero = zero_point(input(context, 2), of_a, plan.rows, row);
        for (int64_t n = 0; n < plan.columns; ++n) {
          const int64_t b_zero = zero_point(input(context, 3), of_b, plan.columns, n);
          int64_t sum = 0;
          for (int64_t k = 0; k < plan.depth; ++k) {
            sum += (integer(a, (of_a * plan.rows + row) * plan.depth + k) - a_zero) *
                   (integer(b, (of_b * plan.depth + k) * plan.columns + n) - b_zero);
          }
          context.outputs[0].as<int32_t>()[(matrix * plan.rows + row) * plan.columns + n] = static_cast<int32_t>(sum);
        }
      });
    });
  });
}

}  // namespace bertie::reference
