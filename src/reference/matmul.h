// The batch of products that a matmul is: which matrix of a meets which of b.
#pragma once

#include "reference/elements.h"

namespace bertie::reference {

struct MatmulPlan {
  Shape batch;                               // the leading axes of the result
  std::array<Strides, 2> strides;            // of a and b over `batch`, in matrices
  int64_t rows = 1, depth = 1, columns = 1;  // a [rows, depth], b [depth, columns]
};

// a and b of rank 1 or more: a vector is a row or a column.
MatmulPlan plan_matmul(const Shape& a, const Shape& b);

// body(matrix of the result, of a, of b) for each product.
template <typename Body>
void for_each_product(const MatmulPlan& plan, Body&& body) {
  walk(plan.batch, plan.strides, [&](int64_t i, const std::array<int64_t, 2>& at) { body(i, at[0], at[1]); });
}

}  // namespace bertie::reference
