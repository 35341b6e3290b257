#include "passes/linear_rows.h"

#include <cstring>

#include "passes/match.h"
#include "passes/pass.h"

namespace bertie {
namespace {

Tensor gather_rows(const Tensor& tensor, const std::vector<int64_t>& rows) {
  Shape row_shape = tensor.shape;
  row_shape[0] = 1;
  const size_t stride = static_cast<size_t>(row_shape.elements()) * dtype_size(tensor.dtype);
  const auto* bytes = static_cast<const std::byte*>(tensor.data.get());
  Shape shape = tensor.shape;
  shape[0] = static_cast<int64_t>(rows.size());
  bool run = true;
  for (size_t i = 0; i < rows.size(); ++i) run = run && rows[i] == rows[0] + static_cast<int64_t>(i);
  if (run) return {tensor.dtype, shape, std::shared_ptr<const void>(tensor.data, bytes + static_cast<size_t>(rows[0]) * stride)};
  std::shared_ptr<std::byte[]> storage(new std::byte[stride * rows.size()]);
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(storage.get() + i * stride, bytes + static_cast<size_t>(rows[i]) * stride, stride);
  return {tensor.dtype, shape, std::shared_ptr<const void>(storage, storage.get())};
}

}  // namespace

bool LinearRows::can_take(const Network& network, ValueId product) {
  const Node* linear = producer(network, product);
  return linear && linear->op == "linear" && linear->text("activation", "none") == "none" &&
         is_constant(network, linear->input(1)) && (linear->input(2) == kNone || is_constant(network, linear->input(2)));
}

ValueId LinearRows::rows_of(ValueId constant, const std::vector<int64_t>& rows) {
  const auto [found, fresh] = taken_.try_emplace({constant, rows}, kNone);
  if (fresh)
    found->second = network_.add_constant(network_.value(constant).name + ".rows",
                                          gather_rows(network_.value(constant).constant->row_major(), rows));
  return found->second;
}

ValueId LinearRows::take(ValueId product, const std::vector<int64_t>& rows, const std::string& name) {
  const Node linear = *producer(network_, product);
  const ValueId bias = linear.input(2) == kNone ? kNone : rows_of(linear.input(2), rows);
  return network_.add_linear(linear.input(0), rows_of(linear.input(1), rows), bias, name);
}

}  // namespace bertie
