// Three products of one input that feed one attention become one product of [3HD, K] weights; attention reads q, k and v
// side by side where they were written, so nothing is transposed.
#include <array>
#include <cstring>
#include <map>

#include "base/float_element.h"
#include "base/mapped_file.h"
#include "passes/pass.h"

namespace bertie {
namespace {

// The parts, row-major, under one another: [n, K] each, or [n] each. One dtype is kept, a mixture becomes f32. An absent bias is zeros.
Tensor stack(const std::vector<const Tensor*>& parts, const Shape& part_shape) {
  DType dtype = DType::f32;
  bool uniform = true;
  for (const Tensor* part : parts) uniform = uniform && part && part->dtype == parts[0]->dtype;
  if (uniform) dtype = parts[0]->dtype;
  Shape shape = part_shape;
  shape[0] *= static_cast<int64_t>(parts.size());
  const size_t part_elements = static_cast<size_t>(part_shape.elements());
  const size_t part_bytes = part_elements * dtype_size(dtype);
  std::shared_ptr<std::byte[]> storage(new std::byte[part_bytes * parts.size()]);
  for (size_t p = 0; p < parts.size(); ++p) {
    std::byte* target = storage.get() + p * part_bytes;
    if (uniform) {
      std::memcpy(target, parts[p]->data.get(), part_bytes);
      release_resident(parts[p]->data.get(), part_bytes);
      continue;
    }
    for (size_t i = 0; i < part_elements; ++i) {
      const float value = parts[p] ? float_element(parts[p]->view(), i) : 0.0f;
      std::memcpy(target + i * sizeof value, &value, sizeof value);
    }
  }
  return {dtype, shape, std::shared_ptr<const void>(storage, storage.get())};
}

// Why these three products cannot be one, or "".
std::string obstacle(const Network& network, const Node& attention, const std::array<const Node*, 3>& products) {
  if (attention.input(0) == attention.input(1) || attention.input(1) == attention.input(2) ||
      attention.input(0) == attention.input(2))
    return "one product is read as two of q, k and v";
  for (size_t i = 0; i < 3; ++i) {
    const Node* product = products[i];
    if (!product || product->op != "linear") return fmt::format("input {} is not a linear product", i);
    if (product->input(0) != products[0]->input(0)) return "the products read different inputs";
    if (product->text("activation", "none") != "none") return fmt::format("'{}' has an activation", product->name);
    if (!network.value(product->input(1)).constant) return fmt::format("the weight of '{}' is not a constant", product->name);
    if (product->input(2) != kNone && !network.value(product->input(2)).constant)
      return fmt::format("the bias of '{}' is not a constant", product->name);
    if (!(network.value(product->input(1)).shape == network.value(products[0]->input(1)).shape))
      return "the weights differ in shape";
    if (!has_one_reader(network, attention.input(i)))
      return fmt::format("the product of '{}' is read elsewhere too", product->name);
  }
  return "";
}

}  // namespace

void merge_qkv(Network& network, const PassOptions&, PassLog& log) {
  std::map<std::vector<ValueId>, std::pair<ValueId, ValueId>>
      merged_constants;  // layers that share weights share the merged ones
  for (NodeId id : network.order()) {
    const Node attention = network.node(id);
    if (attention.op != "attention" || attention.integer("packed_qkv") != 0) continue;
    std::array<const Node*, 3> products{};
    for (size_t i = 0; i < 3; ++i) products[i] = producer(network, attention.input(i));
    if (const std::string reason = obstacle(network, attention, products); !reason.empty()) {
      log.refused("{}: {}", attention.name, reason);
      continue;
    }
    std::vector<const Tensor*> weights, biases;
    std::array<Tensor, 3> rows;
    bool any_bias = false;
    for (const Node* product : products) {
      rows[weights.size()] = network.value(product->input(1)).constant->row_major();
      weights.push_back(&rows[weights.size()]);
      biases.push_back(product->input(2) == kNone ? nullptr : &*network.value(product->input(2)).constant);
      any_bias = any_bias || biases.back();
    }
    log.matched("{} + {} + {} -> one linear, packed qkv into {}", products[0]->name, products[1]->name, products[2]->name,
                attention.name);
    const ValueId x = products[0]->input(0);
    std::vector<ValueId> sources;
    for (const Node* product : products) sources.insert(sources.end(), {product->input(1), product->input(2)});
    const auto [found, fresh] = merged_constants.try_emplace(sources, kNone, kNone);
    auto& [weight_id, bias_id] = found->second;
    if (fresh) {
      Tensor weight = stack(weights, weights[0]->shape);
      Tensor bias = any_bias ? stack(biases, Shape{weights[0]->shape[0]}) : Tensor{};
      weight_id = network.add_constant(attention.name + ".qkv.weight", std::move(weight));
      if (any_bias) bias_id = network.add_constant(attention.name + ".qkv.bias", std::move(bias));
    }
    for (size_t i = 0; i < 3; ++i) network.erase_node(network.value(attention.input(i)).producer);
    const ValueId qkv = network.add_linear(x, weight_id, bias_id, attention.name + ".qkv");
    Node& merged = network.mutable_node(id);
    merged.inputs[0] = qkv;
    merged.inputs[1] = merged.inputs[2] = kNone;
    merged.attributes["packed_qkv"] = int64_t{1};
  }
}

}  // namespace bertie
