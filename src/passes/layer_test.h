// A small encoder layer for tests of passes.
#pragma once

#include <string>
#include <vector>

#include "passes/pass.h"

namespace bertie {

inline Tensor constant(const Shape& shape, float start = 0) {
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = start + static_cast<float>(i);
  return Tensor::from_floats(shape, values);
}

// Grows with i, and is no multiple of a step: rows of integers would be eight bits already.
inline float uneven(float i) { return i + 1 / (i + 3); }

inline Tensor weights(const Shape& shape, float start) {
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = uneven(start + static_cast<float>(i));
  return Tensor::from_floats(shape, values);
}

// One encoder layer of two heads, as a model family lays it down.
struct Layer {
  int64_t width = 4;
  Network network;
  ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  ValueId mask = network.add_input("attention_mask", DType::i64, {"batch", "sequence"});
  ValueId types = network.add_input("token_type_ids", DType::i64, {"batch", "sequence"});
  ValueId positions = network.add_input("position_ids", DType::i64, {"batch", "sequence"});
  ValueId word_table = network.add_constant("word", constant({9, width}));
  ValueId gamma = network.add_constant("gamma", constant({width}, 1));
  ValueId hidden = kNone;
  float first = 0;  // element of the next weight

  ValueId linear(ValueId x, int64_t rows, const std::string& name) {
    const int64_t columns = network.value(x).shape.back().size;
    const float start = first++;  // no two layers alike
    return network.add_linear(x, network.add_constant(name + ".weight", weights({rows, columns}, start)),
                              network.add_constant(name + ".bias", constant({rows}, start)), name);
  }

  explicit Layer(int64_t of_width = 4) : width(of_width) {
    const ValueId word = network.add_embedding(word_table, ids, "word");
    const ValueId type = network.add_embedding(network.add_constant("type", constant({2, width})), types, "type");
    const ValueId position = network.add_embedding(network.add_constant("position", constant({8, width})), positions, "position");
    const ValueId sum = network.add_elementwise("add", network.add_elementwise("add", word, type), position);
    const ValueId x = network.add_layer_norm(sum, gamma, gamma, 1e-12, "embedding_norm");
    const ValueId q = linear(x, width, "query");
    const ValueId k = linear(x, width, "key");
    const ValueId v = linear(x, width, "value");
    const ValueId context = network.add_attention(q, k, v, mask, kNone, 2, 0.7, "attention");
    const ValueId y = network.add_layer_norm(network.add_elementwise("add", linear(context, width, "projection"), x), gamma,
                                             gamma, 1e-12, "norm1");
    const ValueId wide = network.add_gelu(linear(y, 4 * width, "intermediate"), "none", "act");
    hidden =
        network.add_layer_norm(network.add_elementwise("add", linear(wide, width, "output"), y), gamma, gamma, 1e-12, "norm2");
  }

  std::vector<std::string> ops() const {
    std::vector<std::string> names;
    for (NodeId id : network.order()) names.push_back(network.node(id).op);
    return names;
  }
};

inline TensorView constant_of(const Network& network, const Node& node, size_t input) {
  return network.value(node.input(input)).constant->view();
}

inline PassOptions in_fp8() { return {.precision = "fp8", .linear_only = {"fp8"}, .float_precision = "fp16"}; }

}  // namespace bertie
