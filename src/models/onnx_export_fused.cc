// Ops without an ONNX op of their own (or of their own from a later opset on), from standard pieces.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <memory>

#include "models/onnx_export.h"
#include "network/eight_bit_linear.h"

namespace bertie::models {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();

// The piece of this name, laid down under a scope of its own when first asked for.
template <typename Make>
OnnxName shared(OnnxExport& e, const std::string& name, Make make) {
  const auto found = e.shared.find(name);
  if (found != e.shared.end()) return found->second;
  e.graph.set_scope(name);
  const OnnxName made = make();
  e.graph.set_scope(e.node->name);
  return e.shared[name] = made;
}

OnnxName gelu(OnnxExport& e, const OnnxName& x, bool tanh) {
  OnnxGraph& g = e.graph;
  if (g.opset() >= 20) {
    return g.add("Gelu", {x}, {attribute("approximate", std::string(tanh ? "tanh" : "none"))});
  }
  OnnxName inner;
  if (tanh) {
    const OnnxName cube = g.add("Mul", {g.add("Mul", {x, x}), x});
    const OnnxName sum = g.add("Add", {x, g.add("Mul", {cube, g.number(0.044715f)})});
    inner = g.add("Tanh", {g.add("Mul", {sum, g.number(0.7978845608028654f)})});  // sqrt(2 / pi)
  } else {
    inner = g.add("Erf", {g.add("Div", {x, g.number(1.4142135623730951f)})});
  }
  const OnnxName half = g.add("Mul", {x, g.number(0.5f)});
  return g.add("Mul", {half, g.add("Add", {inner, g.number(1)})});
}

OnnxName activated(OnnxExport& e, const std::string& activation, const OnnxName& x) {
  if (activation == "none") return x;
  if (activation == "gelu" || activation == "gelu_tanh") return gelu(e, x, activation == "gelu_tanh");
  if (activation == "relu") return e.graph.add("Relu", {x});
  if (activation == "tanh") return e.graph.add("Tanh", {x});
  if (activation == "silu") return e.graph.add("Mul", {x, e.graph.add("Sigmoid", {x})});
  e.refuse(fmt::format("activation '{}'", activation));
}

OnnxName layer_norm(OnnxExport& e, const OnnxName& x, const OnnxName& gamma, const OnnxName& beta) {
  OnnxGraph& g = e.graph;
  const double epsilon = e.node->real("epsilon");
  if (g.opset() >= 17) {
    return g.add("LayerNormalization", {x, gamma, beta}, {attribute("axis", int64_t{-1}), attribute("epsilon", epsilon)});
  }
  const OnnxName centred = g.add("Sub", {x, g.reduce("ReduceMean", x, {-1}, true)});
  const OnnxName variance = g.reduce("ReduceMean", g.add("Mul", {centred, centred}), {-1}, true);
  const OnnxName deviation = g.add("Sqrt", {g.add("Add", {variance, g.number(static_cast<float>(epsilon))})});
  return g.add("Add", {g.add("Mul", {g.add("Div", {centred, deviation}), gamma}), beta});
}

std::vector<OnnxName> export_gelu(OnnxExport& e) { return {gelu(e, e.input(0), e.node->text("approximate", "none") == "tanh")}; }

std::vector<OnnxName> export_layer_norm(OnnxExport& e) { return {layer_norm(e, e.input(0), e.input(1), e.input(2))}; }

std::vector<OnnxName> export_skip_layer_norm(OnnxExport& e) {
  return {layer_norm(e, e.graph.add("Add", {e.input(0), e.input(1)}), e.input(2), e.input(3))};
}

std::vector<OnnxName> export_embedding(OnnxExport& e) {
  return {e.graph.add("Gather", {e.input(0), e.input(1)}, {attribute("axis", int64_t{0})})};
}

std::vector<OnnxName> export_embedding_layer_norm(OnnxExport& e) {
  OnnxName sum;
  for (size_t ids : {0, 1, 2}) {
    if (!e.has(ids)) continue;
    const OnnxName rows = e.graph.add("Gather", {e.input(ids + 3), e.input(ids)}, {attribute("axis", int64_t{0})});
    sum = sum.empty() ? rows : e.graph.add("Add", {sum, rows});
  }
  return {layer_norm(e, sum, e.input(6), e.input(7))};
}

// The weight stays as the checkpoint holds it, [N, K]; runtimes fold the transposition when they load the file.
std::vector<OnnxName> export_linear(OnnxExport& e) {
  OnnxGraph& g = e.graph;
  OnnxName y;
  if (e.rank(0) == 2) {
    y = g.add("Gemm", {e.input(0), e.input(1), e.input(2)}, {attribute("transB", int64_t{1})});
  } else {
    y = g.add("MatMul", {e.input(0), g.transpose(e.input(1), {1, 0})});
    if (e.has(2)) y = g.add("Add", {y, e.input(2)});
  }
  return {activated(e, e.node->text("activation", "none"), y)};
}

// Eight-bit integers, all 0: the zero points of a symmetric range. `count` 0: a scalar.
OnnxName zero_points(OnnxExport& e, int64_t count) {
  return shared(e, fmt::format("i8.zeros.{}", count), [&] {
    const Shape shape = count == 0 ? Shape() : Shape{count};
    const auto zeros = std::make_shared<std::vector<int8_t>>(static_cast<size_t>(shape.elements()));
    return e.graph.initializer(fmt::format("i8.zeros.{}", count),
                               {DType::i8, shape, std::shared_ptr<const void>(zeros, zeros->data())});
  });
}

// The one scale by which everybody who reads these integers takes them back.
ValueId scale_of_readers(OnnxExport& e, ValueId values) {
  ValueId scale = kNone;
  for (const NodeId id : e.network.consumers(values)) {
    const Node& reader = e.network.node(id);
    const ValueId own = reader.op == "int8_linear" ? reader.input(1) : kNone;
    if (own == kNone || (scale != kNone && own != scale)) e.refuse("integers that are read by two scales");
    scale = own;
  }
  if (scale == kNone || !e.network.value(scale).constant) e.refuse("a scale that only the run knows");
  return scale;
}

// What migration and shift do to a column comes before the pair, where it does anything: QuantizeLinear divides by the scale alone.
std::vector<OnnxName> export_quantize_rows(OnnxExport& e) {
  OnnxGraph& g = e.graph;
  if (quantizes_to_e4m3(*e.node)) e.refuse("layers held in fp8: export the model that the engine file was built from");
  e.require_opset(13, "eight-bit linear layers");
  if (!e.has(1)) e.refuse("a range for each row, found at run time: ONNX has it for whole tensors; calibrate the layer");
  const ValueId scale_id = scale_of_readers(e, e.node->outputs[0]);
  const float scale = *e.network.value(scale_id).constant->view().as<float>();
  const Tensor& quantization = *e.network.value(e.node->input(1)).constant;
  const auto columns = static_cast<size_t>(quantization.shape[1]);
  const float* numbers = quantization.view().as<float>();
  std::vector<float> factors(columns), shifts(columns);
  bool scaled = false, shifted = false;
  for (size_t k = 0; k < columns; ++k) {
    factors[k] = numbers[k] * scale;
    shifts[k] = numbers[columns + k] * scale;
    scaled = scaled || std::fabs(factors[k] - 1) > 1e-6f;
    shifted = shifted || shifts[k] != 0;
  }
  const Shape shape{quantization.shape[1]};
  OnnxName x = e.input(0);
  if (scaled) x = g.add("Mul", {x, g.initializer(e.node->name + ".factors", Tensor::from_floats(shape, factors))});
  if (shifted) x = g.add("Add", {x, g.initializer(e.node->name + ".shifts", Tensor::from_floats(shape, shifts))});
  return {g.add("QuantizeLinear", {x, e.value(scale_id), zero_points(e, 0)})};
}

// [N, K] -> [K, N] as ONNX's MatMul reads it: runtimes look for the pair right behind the integers.
OnnxName transposed_integers(OnnxExport& e, ValueId id) {
  return shared(e, e.network.value(id).name + ".transposed", [&] {
    const Tensor rows = e.network.value(id).constant->row_major();
    const int64_t n = rows.shape[0], k = rows.shape[1];
    const auto columns = std::make_shared<std::vector<int8_t>>(static_cast<size_t>(n * k));
    const int8_t* from = rows.view().as<int8_t>();
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t c = 0; c < k; ++c) (*columns)[static_cast<size_t>(c * n + r)] = from[r * k + c];
    }
    return e.graph.initializer(e.network.value(id).name,
                               {DType::i8, {k, n}, std::shared_ptr<const void>(columns, columns->data())});
  });
}

std::vector<OnnxName> export_int8_linear(OnnxExport& e) {
  OnnxGraph& g = e.graph;
  e.require_opset(13, "eight-bit linear layers");
  if (e.node->text("quantize_output", "none") != "none") e.refuse("a result in eight bits");
  const OnnxName x = g.add("DequantizeLinear", {e.input(kLinearX), e.input(kLinearXScale), zero_points(e, 0)});
  const OnnxName weight = g.add("DequantizeLinear",
                                {transposed_integers(e, e.node->input(kLinearWeight)), e.input(kLinearWeightScale),
                                 zero_points(e, e.shape(kLinearWeight)[0].size)},
                                {attribute("axis", int64_t{1})});
  OnnxName y = g.add("MatMul", {x, weight});
  if (e.has(kLinearBias)) y = g.add("Add", {y, e.input(kLinearBias)});
  y = activated(e, e.node->text("activation", "none"), y);
  if (e.has(kLinearResidual)) y = g.add("Add", {y, e.input(kLinearResidual)});
  return {y};
}

// [batch, sequence] -> [batch, 1, 1, sequence]: 0 where a key is attended, else the lowest float.
OnnxName additive_mask(OnnxExport& e, ValueId mask) {
  return shared(e, e.network.value(mask).name + ".additive", [&] {
    const OnnxName attended = e.graph.unsqueeze(e.graph.cast(e.value(mask), DType::boolean), {1, 2});
    return e.graph.add("Where", {attended, e.graph.number(0), e.graph.number(kLowest)});
  });
}

// [H, 2P-1] -> [H, sequence, sequence]: entry P-1 + key - query.
OnnxName relative_bias(OnnxExport& e, ValueId bias, const OnnxName& q) {
  return shared(e, e.network.value(bias).name + ".by_distance", [&] {
    OnnxGraph& g = e.graph;
    const OnnxName length = g.squeeze(g.shape(q, 1, 2), {0});
    const OnnxName places = g.add("Range", {g.integer(0), length, g.integer(1)});
    const OnnxName distance = g.add("Sub", {g.unsqueeze(places, {0}), g.unsqueeze(places, {1})});
    const int64_t middle = e.network.value(bias).shape[1].size / 2;
    return g.add("Gather", {e.value(bias), g.add("Add", {distance, g.integer(middle)})}, {attribute("axis", int64_t{1})});
  });
}

std::vector<OnnxName> export_attention(OnnxExport& e) {
  enum Input : size_t { kQuery, kKey, kValue, kMask, kRelativeBias, kQueryRows, kBias };
  OnnxGraph& g = e.graph;
  if (e.node->integer("packed_qkv") != 0) e.require_opset(13, "q, k and v of one product");
  if (e.rank(kQuery) != 3) e.refuse("packed rows");
  const bool packed = e.node->integer("packed_qkv") != 0;
  const int64_t heads = e.node->integer("heads");
  const int64_t width = e.shape(kQuery).back().size / (packed ? 3 : 1);
  std::vector<OnnxName> rows;
  if (packed) {
    rows = g.add_many("Split", {e.input(kQuery), g.integers({width, width, width})}, {attribute("axis", int64_t{-1})}, 3);
  } else {
    rows = {e.input(kQuery), e.input(kKey), e.input(kValue)};
  }
  const auto by_head = [&](size_t input, std::vector<int64_t> permutation) {
    return g.transpose(g.reshape(rows[input], {0, 0, heads, width / heads}), std::move(permutation));
  };
  const OnnxName products = g.add("MatMul", {by_head(kQuery, {0, 2, 1, 3}), by_head(kKey, {0, 2, 3, 1})});
  OnnxName scores = g.add("Mul", {products, g.number(static_cast<float>(e.node->real("scale", 1)))});
  if (e.has(kRelativeBias)) {
    scores = g.add("Add", {scores, relative_bias(e, e.node->input(kRelativeBias), e.input(kQuery))});
  }
  if (e.has(kBias)) scores = g.add("Add", {scores, e.input(kBias)});
  if (e.has(kMask)) scores = g.add("Add", {scores, additive_mask(e, e.node->input(kMask))});
  const OnnxName context = g.add("MatMul", {g.softmax("Softmax", scores, -1, 4), by_head(kValue, {0, 2, 1, 3})});
  return {g.reshape(g.transpose(context, {0, 2, 1, 3}), {0, 0, width})};
}

// x [batch, sequence, E], the places of `mask` alone -> [batch, E].
OnnxName pool_attended(OnnxExport& e, const std::string& mode, const OnnxName& x) {
  OnnxGraph& g = e.graph;
  const OnnxName attended = g.unsqueeze(g.cast(e.input(1), DType::boolean), {2});
  if (mode == "max") {
    return g.reduce("ReduceMax", g.add("Where", {attended, x, g.number(kLowest)}), {1}, false);
  }
  const OnnxName weights = g.cast(attended, DType::f32);
  const OnnxName sum = g.reduce("ReduceSum", g.add("Mul", {x, weights}), {1}, false);
  OnnxName count = g.add("Max", {g.reduce("ReduceSum", weights, {1}, false), g.number(1)});
  if (mode == "mean_sqrt_length") count = g.add("Sqrt", {count});
  return g.add("Div", {sum, count});
}

std::vector<OnnxName> export_pool(OnnxExport& e) {
  OnnxGraph& g = e.graph;
  if (e.rank(0) != 3) e.refuse("packed rows");
  const std::string mode = e.node->text("mode");
  const OnnxName x = e.input(0);
  if (mode == "cls") return {g.add("Gather", {x, g.integer(0)}, {attribute("axis", int64_t{1})})};
  if (e.has(1)) return {pool_attended(e, mode, x)};
  if (mode == "max") return {g.reduce("ReduceMax", x, {1}, false)};
  if (mode == "mean") return {g.reduce("ReduceMean", x, {1}, false)};
  const OnnxName length = g.add("Sqrt", {g.cast(g.shape(x, 1, 2), DType::f32)});
  return {g.add("Div", {g.reduce("ReduceSum", x, {1}, false), length})};
}

std::vector<OnnxName> export_normalize(OnnxExport& e) {
  OnnxGraph& g = e.graph;
  const OnnxName norm = g.reduce("ReduceL2", e.input(0), {-1}, true);
  return {g.add("Div", {e.input(0), g.add("Max", {norm, g.number(static_cast<float>(e.node->real("epsilon")))})})};
}

std::vector<OnnxName> refuse_packed(OnnxExport& e) { e.refuse("packed rows"); }

}  // namespace

OnnxExporter onnx_exporter_of_fused(std::string_view op) {
  if (op == "attention") return export_attention;
  if (op == "embedding") return export_embedding;
  if (op == "embedding_layer_norm") return export_embedding_layer_norm;
  if (op == "gather_rows" || op == "pack_rows") return refuse_packed;
  if (op == "gelu") return export_gelu;
  if (op == "int8_linear") return export_int8_linear;
  if (op == "layer_norm") return export_layer_norm;
  if (op == "linear") return export_linear;
  if (op == "normalize") return export_normalize;
  if (op == "pool") return export_pool;
  if (op == "quantize_rows") return export_quantize_rows;
  if (op == "skip_layer_norm") return export_skip_layer_norm;
  return nullptr;
}

}  // namespace bertie::models
