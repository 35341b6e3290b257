// The places of the elements that are not zero, as i64 [rank, how many]: only the elements tell the second extent.
#include "network/dim.h"
#include "network/element.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_non_zero(OpContext& context) {
  const Value& x = context.value(0);
  Dim count = unknown_dim(context.node().name, 1);
  if (x.constant && (x.constant->data || x.constant->shape.elements() == 0)) {
    int64_t found = 0;
    for (int64_t i = 0; i < x.constant->shape.elements(); ++i) found += element(x.constant->view(), i) != 0;
    count = Dim(found);
  }
  context.output(DType::i64, {Dim(static_cast<int64_t>(x.shape.size())), count});
}

}  // namespace

const OpDescriptor& non_zero_op() {
  static const OpDescriptor op{
      .name = "non_zero", .required_inputs = 1, .inputs = {"x"}, .attributes = {}, .infer = infer_non_zero, .reads_data = true};
  return op;
}

}  // namespace bertie
