// A linear layer in int8 becomes quantize_rows of its input and int8_linear: weights by output channel, now; activations by row, at run
// time. Layers that read one value share its quantize_rows, and layers of one weight share its integers.
#include <map>

#include "base/float_element.h"
#include "base/mapped_file.h"
#include "base/thread_pool.h"
#include "passes/pass.h"
#include "quant/int8.h"

namespace bertie {
namespace {

struct Integers {
  ValueId values, scales;
};

Integers quantized_weight(Network& network, ValueId weight, ThreadPool& pool) {
  const std::string name = network.value(weight).name;
  const Tensor& source = *network.value(weight).constant;
  const Tensor rows = source.row_major();
  const int64_t n = rows.shape[0], k = rows.shape[1];
  std::shared_ptr<int8_t[]> values(new int8_t[static_cast<size_t>(n * k)]);
  std::vector<float> scales(static_cast<size_t>(n));
  constexpr int64_t kRowsAtOnce = 32;
  pool.parallel_for((n + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t task, int) {
    const TensorView view = rows.view();
    std::vector<float> widened(view.dtype == DType::f32 ? 0 : static_cast<size_t>(k));
    for (int64_t r = task * kRowsAtOnce; r < std::min(n, (task + 1) * kRowsAtOnce); ++r) {
      for (size_t i = 0; i < widened.size(); ++i) widened[i] = float_element(view, static_cast<size_t>(r * k) + i);
      const float* row = view.dtype == DType::f32 ? view.as<float>() + r * k : widened.data();
      scales[static_cast<size_t>(r)] = quantize_int8({row, static_cast<size_t>(k)}, values.get() + r * k);
    }
  });
  release_resident(source.data.get(), source.bytes());
  return {network.add_constant(name + ".int8", {DType::i8, rows.shape, std::shared_ptr<const void>(values, values.get())}),
          network.add_constant(name + ".scales", Tensor::from_floats({n}, scales))};
}

}  // namespace

void quantize_linear_layers(Network& network, const PassOptions&, PassLog& log) {
  std::map<ValueId, std::vector<ValueId>> rows;  // of x: values and scales
  std::map<const void*, Integers> weights;
  std::optional<ThreadPool> pool;
  std::vector<std::string> quantized;
  for (const NodeId id : network.order()) {
    const Node node = network.node(id);
    if (node.op != "linear" || node.text("precision", "fp32") != "int8") continue;
    if (!pool) pool.emplace(0);
    const ValueId x = node.input(0);
    auto [row, fresh_row] = rows.try_emplace(x);
    if (fresh_row) row->second = network.add_node("quantize_rows", {x}, {}, node.name + ".quantize");
    auto [weight, fresh_weight] = weights.try_emplace(network.value(node.input(1)).constant->data.get());
    if (fresh_weight) weight->second = quantized_weight(network, node.input(1), *pool);
    Attributes attributes = node.attributes;
    attributes.erase("precision");
    network.erase_node(id);
    const auto product = network.add_node(
        "int8_linear", {row->second[0], row->second[1], weight->second.values, weight->second.scales, node.input(2)},
        std::move(attributes), node.name);
    network.replace_uses(node.outputs[0], product[0]);
    quantized.push_back(node.name);
  }
  log.matched_each("int8", quantized);
}

}  // namespace bertie
