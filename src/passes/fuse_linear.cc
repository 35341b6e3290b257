// matmul by a constant [K, N] becomes linear with weight [N, K]; a bias added to it, or to another view of it, goes inside; a slice of
// its columns becomes a linear of its own.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "network/op.h"
#include "passes/linear_rows.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/view.h"

namespace bertie {
namespace {

template <typename T>
void transpose_into(const T* from, T* to, int64_t rows, int64_t columns) {
  constexpr int64_t kTile = 32;  // of 4-byte elements: two tiles lie in the first-level cache
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      for (int64_t r = r0; r < std::min(rows, r0 + kTile); ++r) {
        for (int64_t c = c0; c < std::min(columns, c0 + kTile); ++c) to[c * rows + r] = from[r * columns + c];
      }
    }
  }
}

Tensor transposed(const Tensor& tensor) {
  const int64_t rows = tensor.shape[0];
  const int64_t columns = tensor.shape[1];
  std::shared_ptr<std::byte[]> storage(new std::byte[tensor.bytes()]);
  if (dtype_size(tensor.dtype) == 2) {
    transpose_into(tensor.view().as<uint16_t>(), reinterpret_cast<uint16_t*>(storage.get()), rows, columns);
  } else {
    transpose_into(tensor.view().as<uint32_t>(), reinterpret_cast<uint32_t*>(storage.get()), rows, columns);
  }
  return {tensor.dtype, Shape{columns, rows}, std::shared_ptr<const void>(storage, storage.get())};
}

class Fusion {
 public:
  Fusion(Network& network, PassLog& log) : network_(network), log_(log), rows_(network) {}

  void product(NodeId id) {
    const Node node = network_.node(id);
    if (node.op != "matmul") return;
    const ValueId weight = weight_of(node.input(1));
    if (weight == kNone || network_.value(node.input(0)).shape.size() < 2) return;
    network_.erase_node(id);
    const ValueId result = network_.add_linear(node.input(0), weight, kNone, node.name);
    network_.replace_uses(node.outputs[0], result);
    log_.matched("{} by a constant -> linear", node.name);
  }

  void bias(NodeId id) {
    const Node node = network_.node(id);
    if (!is_function(&node, "elementwise", "add")) return;
    const bool first = is_constant(network_, node.input(0));
    const ValueId bias = node.input(first ? 0 : 1);
    const ValueId x = node.input(first ? 1 : 0);
    if (!is_constant(network_, bias) || is_constant(network_, x)) return;
    const View view = view_of(network_, x, Scaling::stop);
    const Node* linear = producer(network_, view.base);
    if (!linear || linear->op != "linear" || !(network_.value(x).shape == network_.value(node.outputs[0]).shape)) return;
    const auto vector = bias_vector(view, bias);
    if (!vector) return;
    if (linear->input(2) != kNone || linear->text("activation", "none") != "none") {
      log_.refused("{}: '{}' has a bias or an activation already", node.name, linear->name);
      return;
    }
    for (ValueId between = x;; between = producer(network_, between)->input(0)) {
      if (!has_one_reader(network_, between)) {
        log_.refused("{}: the product of '{}' is read elsewhere too", node.name, linear->name);
        return;
      }
      if (between == view.base) break;
    }
    log_.matched("{} + {} -> linear with bias", linear->name, node.name);
    const bool is_vector = network_.value(bias).shape.size() == 1 && view.nodes.empty();
    const ValueId constant = is_vector ? bias : network_.add_constant(network_.value(bias).name, *vector);
    Node& target = network_.mutable_node(network_.value(view.base).producer);
    target.inputs.resize(2);
    target.inputs.push_back(constant);
    network_.replace_uses(node.outputs[0], x);
    network_.erase_node(id);
  }

  // Every reader of a product takes some of its columns.
  void columns(NodeId id) {
    const Node linear = network_.node(id);
    if (linear.op != "linear" || !LinearRows::can_take(network_, linear.outputs[0]) || is_output(network_, linear.outputs[0]))
      return;
    std::vector<std::pair<ValueId, std::vector<int64_t>>> parts;
    for (NodeId reader : network_.consumers(linear.outputs[0])) {
      for (ValueId part : network_.node(reader).outputs) {
        const auto rows = columns_of(linear.outputs[0], part);
        if (rows.empty()) return;
        parts.emplace_back(part, rows);
      }
    }
    if (parts.empty()) return;
    for (const auto& [part, rows] : parts) {
      const std::string name = fmt::format("{}.{}", linear.name, rows.front());
      network_.replace_uses(part, rows_.take(linear.outputs[0], rows, name));
    }
    log_.matched("{}: a linear for each of the {} parts of its columns", linear.name, parts.size());
  }

 private:
  // The weight [N, K] of a product by `right`; kNone where it is no constant matrix.
  ValueId weight_of(ValueId right) {
    const Node* transpose = producer(network_, right);
    if (transpose && transpose->op == "transpose" && is_matrix(transpose->input(0))) return transpose->input(0);
    if (!is_matrix(right)) return kNone;
    const auto [found, fresh] = transposed_.try_emplace(right, kNone);
    if (fresh) found->second = network_.add_constant(network_.value(right).name, transposed(*network_.value(right).constant));
    return found->second;
  }

  bool is_matrix(ValueId value) const {
    if (!is_constant(network_, value)) return false;
    const Value& matrix = network_.value(value);
    return matrix.shape.size() == 2 && (matrix.dtype == DType::f32 || matrix.dtype == DType::f16 || matrix.dtype == DType::bf16);
  }

  // The constant that is added to this view of a product, as a vector over the product's last axis; nullopt where it is none.
  std::optional<Tensor> bias_vector(const View& view, ValueId bias) const {
    const Tensor& tensor = *network_.value(bias).constant;
    const size_t last = view.offsets.size() - 1;
    const int64_t extent = network_.value(view.base).shape[last].size;
    if (!is_float(tensor.dtype) || tensor.shape.elements() != extent ||
        static_cast<size_t>(tensor.shape.rank()) > view.axes.size())
      return std::nullopt;
    std::vector<float> vector(static_cast<size_t>(extent), NAN);
    // Place of the constant's element along the product's last axis: the sum of its factors' strides.
    for (int64_t index = 0; index < extent; ++index) {
      int64_t rest = index;
      int64_t place = view.offsets[last];
      for (int axis = tensor.shape.rank() - 1, from_end = 1; axis >= 0; --axis, ++from_end) {
        int64_t step = rest % tensor.shape[axis];
        rest /= tensor.shape[axis];
        if (tensor.shape[axis] == 1) continue;
        const auto& factors = view.axes[view.axes.size() - static_cast<size_t>(from_end)];
        for (size_t f = factors.size(); f-- > 0;) {
          if (factors[f].axis != last) return std::nullopt;
          place += step % factors[f].extent.size * factors[f].stride.size;
          step /= factors[f].extent.size;
        }
      }
      vector.at(static_cast<size_t>(place)) = static_cast<float>(element(tensor.view(), index));
    }
    if (std::any_of(vector.begin(), vector.end(), [](float number) { return std::isnan(number); })) return std::nullopt;
    return Tensor::from_floats(Shape{extent}, vector);
  }

  // Which columns of `product` a value holds where it has all else of it in place; empty where it is anything else.
  std::vector<int64_t> columns_of(ValueId product, ValueId value) const {
    const View view = view_of(network_, value, Scaling::stop);
    const SymbolicShape& shape = network_.value(product).shape;
    if (view.base != product || view.axes.size() != shape.size() || network_.value(value).shape.back() == shape.back()) return {};
    const size_t last = shape.size() - 1;
    for (size_t axis = 0; axis < last; ++axis) {
      if (!is_whole_axis(network_, view, view.axes[axis], axis)) return {};
    }
    const auto& factors = view.axes[last];
    if (factors.size() > 1 || (factors.size() == 1 && factors[0].axis != last)) return {};
    const int64_t count = factors.empty() ? 1 : factors[0].extent.size;
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < count; ++i) rows.push_back(view.offsets[last] + i * (factors.empty() ? 1 : factors[0].stride.size));
    return rows;
  }

  Network& network_;
  PassLog& log_;
  LinearRows rows_;
  std::map<ValueId, ValueId> transposed_;  // shared weights stay shared
};

}  // namespace

void fuse_linear(Network& network, const PassOptions&, PassLog& log) {
  Fusion fusion(network, log);
  for (NodeId id : network.order()) fusion.product(id);
  for (NodeId id : network.order()) fusion.bias(id);
  for (NodeId id : network.order()) fusion.columns(id);
  network.remove_dead_nodes();
}

}  // namespace bertie
