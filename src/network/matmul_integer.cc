// ONNX MatMulInteger: (a - a_zero_point) (b - b_zero_point) in i32; zero points per tensor, per row of a or per column of b.
#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

bool is_byte(DType dtype) { return dtype == DType::i8 || dtype == DType::u8; }

void infer_matmul_integer(OpContext& context) {
  context.require(is_byte(context.dtype(0)) && is_byte(context.dtype(1)), "a and b of i8 or u8");
  const SymbolicShape& a = context.shape(0);
  const SymbolicShape& b = context.shape(1);
  context.require(a.size() >= 2 && b.size() >= 2, "a and b of rank 2 or more");
  const Dim& inner = a.back();
  const Dim& other = b[b.size() - 2];
  if (inner.is_fixed() && other.is_fixed()) context.require(inner == other, "a [..., M, K] and b [..., K, N] of one K");
  const auto batch = broadcast(SymbolicShape(a.begin(), a.end() - 2), SymbolicShape(b.begin(), b.end() - 2));
  if (!batch) context.reject("leading axes that broadcast");
  SymbolicShape shape = *batch;
  shape.push_back(a[a.size() - 2]);
  shape.push_back(b.back());
  context.output(DType::i32, std::move(shape));
}

}  // namespace

const OpDescriptor& matmul_integer_op() {
  static const OpDescriptor op{"matmul_integer", 2, {"a", "b", "a_zero_point", "b_zero_point"}, {}, infer_matmul_integer};
  return op;
}

}  // namespace bertie
