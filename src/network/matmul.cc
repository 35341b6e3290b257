// ONNX MatMul: NumPy's matmul, batched over the leading axes.
#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_matmul(OpContext& context) {
  const bool integers = is_index(context.dtype(0)) && context.dtype(0) == context.dtype(1);
  if (!integers) {
    context.require_float(0);
    context.require_float(1);
  }
  SymbolicShape a = context.shape(0);
  SymbolicShape b = context.shape(1);
  context.require(!a.empty() && !b.empty(), "a and b of rank 1 or more");
  const bool row = a.size() == 1;
  const bool column = b.size() == 1;
  if (row) a.insert(a.begin(), Dim(1));
  if (column) b.push_back(Dim(1));
  const Dim& inner = a.back();
  const Dim& other = b[b.size() - 2];
  if (inner.is_fixed() && other.is_fixed() && !(inner == other)) context.reject("a [..., M, K] and b [..., K, N] of one K");
  const auto batch = broadcast(SymbolicShape(a.begin(), a.end() - 2), SymbolicShape(b.begin(), b.end() - 2));
  if (!batch) context.reject("leading axes that broadcast");
  SymbolicShape shape = *batch;
  if (!row) shape.push_back(a[a.size() - 2]);
  if (!column) shape.push_back(b.back());
  context.output(widened(context.dtype(0)), std::move(shape));
}

}  // namespace

const OpDescriptor& matmul_op() {
  static const OpDescriptor op{"matmul", 2, {"a", "b"}, {}, infer_matmul};
  return op;
}

ValueId Network::add_matmul(ValueId a, ValueId b, std::string name) { return add_node("matmul", {a, b}, {}, std::move(name))[0]; }

}  // namespace bertie
