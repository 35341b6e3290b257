// Hand-built networks, between them every op that has a form in ONNX, exported for tests/parity/export_parity.py with what the
// reference backend computes.
//
// usage: export_probe OPSET FOLDER. Writes FOLDER/CASE.onnx, FOLDER/CASE.input.NAME.npy and FOLDER/CASE.output.NAME.npy; prints
// "refused CASE: reason" for those that the opset cannot say.
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "bertie/model.h"
#include "formats/npy.h"
#include "reference/evaluate.h"
#include "tests/support/op_runner.h"

namespace bertie {
namespace {

using test::random_tensor;

// A network under construction, with the tensors that its inputs get.
struct Case {
  Network network;
  std::map<ValueId, Tensor> inputs;
  std::mt19937 random{7};

  ValueId input(const std::string& name, SymbolicShape shape, Tensor tensor) {
    const ValueId id = network.add_input(name, tensor.dtype, std::move(shape));
    inputs.emplace(id, std::move(tensor));
    return id;
  }
  ValueId floats(const std::string& name, SymbolicShape shape, const Shape& extents, float scale = 1, float shift = 0) {
    return input(name, std::move(shape), random_tensor(random, extents, DType::f32, scale, shift));
  }
  ValueId hidden(const std::string& name = "x", int64_t width = 6) {
    return floats(name, {"batch", "sequence", width}, {2, 5, width});
  }
  ValueId weight(const std::string& name, const Shape& shape, DType dtype = DType::f32) {
    return network.add_constant(name, random_tensor(random, shape, dtype));
  }
  ValueId whole(const std::string& name, SymbolicShape shape, const Shape& extents, const std::vector<int64_t>& values,
                DType dtype = DType::i64) {
    return input(name, std::move(shape), test::indices(extents, values, dtype));
  }
  ValueId mask() { return whole("attention_mask", {"batch", "sequence"}, {2, 5}, {0, 1, 1, 0, 1, 1, 1, 1, 0, 0}); }
  ValueId one(std::string op, std::vector<ValueId> values, Attributes attributes = {}) {
    return network.add_node(std::move(op), std::move(values), std::move(attributes))[0];
  }
  void output(const std::string& name, ValueId value) { network.add_output(name, value); }
};

void elementwise(Case& c) {
  const ValueId a = c.hidden("a"), b = c.floats("b", {"sequence", 1}, {5, 1}, 1, 3);
  for (const char* function :
       {"add", "sub", "mul", "div", "min", "max", "fmod", "equal", "greater", "greater_or_equal", "less", "less_or_equal"}) {
    c.output(function, c.network.add_elementwise(function, a, b));
  }
  c.output("pow", c.network.add_elementwise("pow", c.network.add_unary("abs", a), b));
  const ValueId more = c.network.add_elementwise("greater", a, b), less = c.network.add_elementwise("less", a, b);
  for (const char* function : {"and", "or", "xor"}) c.output(function, c.network.add_elementwise(function, more, less));
  c.output("not", c.network.add_unary("not", more));
  c.output("where", c.network.add_where(more, a, b));
  c.output("cast", c.network.add_cast(less, DType::f32));
}

void whole_numbers(Case& c) {
  const ValueId a = c.whole("a", {"batch", 3}, {2, 3}, {7, -7, 5, 0, 9, -2}), b = c.whole("b", {3}, {3}, {2, 3, -4});
  for (const char* function : {"add", "sub", "mul", "div", "mod"}) c.output(function, c.network.add_elementwise(function, a, b));
  c.output("sum", c.network.add_elementwise("add", c.network.add_cast(a, DType::i32), c.network.add_cast(b, DType::i32)));
}

void whole_extremes(Case& c) {
  const ValueId a = c.whole("a", {"batch", 3}, {2, 3}, {7, -7, 5, 0, 9, -2}), b = c.whole("b", {3}, {3}, {2, 3, -4});
  for (const char* function : {"min", "max"}) c.output(function, c.network.add_elementwise(function, a, b));
  c.output("clip", c.one("clip", {a, c.network.add_constant("low", test::indices({}, {-3}, DType::i64)), kNone}));
}

void unary(Case& c) {
  const ValueId x = c.hidden(), positive = c.network.add_unary("abs", x);
  for (const char* function : {"identity", "relu", "silu", "tanh", "sigmoid", "softplus", "erf", "exp", "sin", "cos", "neg",
                               "abs", "sign", "floor", "ceil", "round", "is_nan"}) {
    c.output(function, c.network.add_unary(function, x));
  }
  for (const char* function : {"log", "sqrt", "reciprocal"}) c.output(function, c.network.add_unary(function, positive));
  c.output("gelu", c.network.add_gelu(x));
  c.output("gelu_tanh", c.network.add_gelu(x, "tanh"));
  const auto scalar = [&](const std::string& name, float value) {
    return c.network.add_constant(name, test::tensor_of({}, {value}));
  };
  c.output("clip", c.one("clip", {x, scalar("low", -0.5f), scalar("high", 0.25f)}));
}

void reduce(Case& c) {
  const ValueId x = c.hidden(), positive = c.network.add_unary("abs", x);
  const std::vector<int64_t> last = {-1}, two = {0, 2};
  for (const char* function : {"mean", "sum", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum_exp"}) {
    c.output(function, c.network.add_reduce(function, x, last, true));
    c.output(std::string(function) + ".2", c.network.add_reduce(function, x, two, false));
  }
  c.output("log_sum", c.network.add_reduce("log_sum", positive, last, false));
  c.output("all", c.one("reduce", {x}, {{"function", "sum"}, {"keep_dims", int64_t{0}}}));
  c.output("none", c.one("reduce", {x}, {{"function", "sum"}, {"noop_with_empty_axes", int64_t{1}}}));
}

void softmax(Case& c) {
  const ValueId x = c.hidden();
  for (int64_t axis : {0, 1, 2, -1}) {
    c.output("softmax" + std::to_string(axis), c.network.add_softmax(x, axis));
    c.output("log" + std::to_string(axis), c.one("softmax", {x}, {{"axis", axis}, {"logarithm", int64_t{1}}}));
  }
}

void layout(Case& c) {
  Network& n = c.network;
  const ValueId x = c.hidden();
  const std::vector<int64_t> split_heads = {0, 0, 2, 3}, flat = {-1, 6};
  const ValueId heads = n.add_reshape(x, split_heads);
  c.output("heads", n.add_transpose(heads, {0, 2, 1, 3}));
  c.output("flat", n.add_reshape(x, flat));
  c.output("reversed", c.one("transpose", {x}));
  c.output("slice", n.add_slice(x, 1, -3, -1));
  c.output("gather", n.add_gather(x, n.add_constant("pick", test::indices({2}, {4, -5}, DType::i64)), 1));
  c.output("concat", n.add_concat({x, n.add_unary("neg", x)}, -1));
  const ValueId axes = n.add_integers(std::vector<int64_t>{1, -1});
  const ValueId wide = c.one("unsqueeze", {x, axes});
  c.output("unsqueeze", wide);
  c.output("squeeze", c.one("squeeze", {wide, axes}));
  c.output("expand", c.one("expand", {n.add_gather(x, n.add_constant("first", test::indices({1}, {0}, DType::i64)), 2),
                                      c.one("shape", {x})}));
  c.output("tile", c.one("tile", {x, n.add_integers(std::vector<int64_t>{1, 2, 1})}));
  c.output("shape", c.one("shape", {x}));
  c.output("shape.tail", c.one("shape", {x}, {{"start", int64_t{1}}}));
  c.output("size", c.one("size", {x}));
  const auto parts = n.add_node("split", {x, n.add_integers(std::vector<int64_t>{1, 2, 3})}, {{"axis", int64_t{-1}}});
  c.output("split.0", parts[0]);
  c.output("split.2", parts[2]);
  const auto equal = n.add_node("split", {x}, {{"axis", int64_t{2}}, {"parts", int64_t{3}}});
  c.output("split.equal", equal[1]);
}

void shapes(Case& c) {
  Network& n = c.network;
  const ValueId ids = c.whole("ids", {"batch", "sequence"}, {2, 5}, {3, 1, 1, 4, 1, 5, 9, 1, 6, 1});
  const ValueId length = n.add_gather(c.one("shape", {ids}), n.add_constant("1", test::indices({}, {1}, DType::i64)), 0);
  const auto scalar = [&](const std::string& name, int64_t value) {
    return n.add_constant(name, test::indices({}, {value}, DType::i64));
  };
  c.output("range", c.one("range", {scalar("start", 2), length, scalar("step", 2)}));
  c.output("constant_of_shape",
           c.one("constant_of_shape", {c.one("shape", {ids}), n.add_constant("fill", test::tensor_of({1}, {2.5f}))}));
  c.output("cumulative_sum", c.one("cumulative_sum", {ids, scalar("axis", 1)}));
  c.output("from_the_end",
           c.one("cumulative_sum", {ids, scalar("axis.0", 0)}, {{"exclusive", int64_t{1}}, {"reverse", int64_t{1}}}));
  const ValueId table = c.weight("table", {10, 4}, DType::bf16);
  const ValueId rows = n.add_embedding(table, ids);
  c.output("embedding", rows);
  c.output(
      "gather_elements",
      c.one("gather_elements", {rows, n.add_constant("at", test::indices({2, 5, 1}, {0, 1, 2, 3, 3, 2, 1, 0, 1, 2}, DType::i64))},
            {{"axis", int64_t{2}}}));
}

void quantized(Case& c) {
  Network& n = c.network;
  const ValueId x = c.hidden();
  const auto quantized = n.add_node("dynamic_quantize_linear", {x}, {});
  const ValueId weight = n.add_constant(
      "weight", test::indices({6, 3}, {1, -2, 3, 4, -5, 6, 7, 8, -9, 10, 11, 12, -13, 14, 15, 16, -17, 18}, DType::i8));
  const ValueId sums = c.one("matmul_integer", {quantized[0], weight, quantized[2]});
  c.output("scaled", n.add_elementwise("mul", n.add_cast(sums, DType::f32), quantized[1]));
  const ValueId scale = n.add_constant("scale", test::tensor_of({}, {0.03125f}));
  const ValueId zero = n.add_constant("zero", test::indices({}, {120}, DType::u8));
  c.output("pair", c.one("dequantize_linear", {c.one("quantize_linear", {x, scale, zero}), scale, zero}));
  c.output("signed", c.one("quantize_linear", {x, scale}, {{"to", "i8"}}));
}

void quantized_by_channel(Case& c) {
  const ValueId x = c.network.add_constant("x", test::indices({2, 3}, {1, -2, 3, 4, -5, 6}, DType::i8));
  const ValueId scales = c.network.add_constant("scales", test::tensor_of({3}, {0.5f, 0.25f, 2}));
  const ValueId y = c.hidden("y", 3);
  c.output("sum", c.network.add_matmul(
                      y, c.network.add_transpose(c.one("dequantize_linear", {x, scales}, {{"axis", int64_t{1}}}), {1, 0})));
}

void dense(Case& c) {
  Network& n = c.network;
  const ValueId x = c.hidden();
  const ValueId w = c.weight("dense.weight", {4, 6}, DType::f16), b = c.weight("dense.bias", {4});
  c.output("linear", n.add_linear(x, w, b));
  c.output("no_bias", n.add_linear(x, w, kNone));
  const ValueId first = n.add_pool(x, kNone, "cls");
  c.output("pooled", n.add_linear(first, w, b));
  for (const char* activation : {"gelu", "gelu_tanh", "relu", "silu", "tanh"}) {
    c.output(activation, c.one("linear", {x, w, b}, {{"activation", activation}}));
  }
  c.output("matmul", n.add_matmul(x, c.weight("kernel", {6, 2})));
  const ValueId gamma = c.weight("gamma", {6}), beta = c.weight("beta", {6});
  c.output("layer_norm", n.add_layer_norm(x, gamma, beta, 1e-5));
  c.output("skip_layer_norm", c.one("skip_layer_norm", {x, n.add_unary("tanh", x), gamma, beta}, {{"epsilon", 1e-12}}));
  c.output("normalize", n.add_normalize(x, 1e-12));
}

void attention(Case& c) {
  Network& n = c.network;
  const ValueId q = c.hidden("q"), k = c.hidden("k"), v = c.hidden("v"), mask = c.mask();
  const ValueId bias = c.weight("bias", {2, 2 * 5 - 1});
  c.output("masked", n.add_attention(q, k, v, mask, kNone, 2, 0.7));
  c.output("biased", n.add_attention(q, k, v, mask, bias, 3 - 1, 0.7));
  c.output("plain", n.add_attention(q, k, v, kNone, kNone, 3, 0.25));
}

void pool(Case& c) {
  const ValueId x = c.hidden(), mask = c.mask();
  for (const char* mode : {"mean", "cls", "max", "mean_sqrt_length"}) {
    c.output(mode, c.network.add_pool(x, mask, mode));
    c.output(std::string(mode) + ".all", c.network.add_pool(x, kNone, mode));
  }
}

// Names that clash, a value given out twice, an input and a constant given out, inputs of half precision.
void names(Case& c) {
  Network& n = c.network;
  const ValueId x = c.input("x", {"batch", 3}, random_tensor(c.random, {2, 3}, DType::f16));
  const ValueId sum = n.add_elementwise("add", x, c.weight("y", {3}), "out");
  c.output("out/Add", sum);
  c.output("y", sum);
  c.output("out", n.add_elementwise("mul", sum, sum, "y"));
  c.output("constant", c.weight("f32(1)", {2}));
  c.output("gelu", n.add_gelu(sum));
  c.output("passed", c.whole("ids", {"batch"}, {2}, {4, 5}));
}

void embeddings(Case& c) {
  Network& n = c.network;
  const ValueId ids = c.whole("input_ids", {"batch", "sequence"}, {2, 5}, {3, 1, 1, 4, 1, 5, 9, 1, 6, 1});
  const ValueId types = c.whole("token_type_ids", {"batch", "sequence"}, {2, 5}, {0, 0, 1, 1, 1, 0, 1, 0, 1, 0});
  const ValueId positions = c.whole("position_ids", {"batch", "sequence"}, {2, 5}, {0, 1, 2, 3, 4, 0, 1, 2, 3, 4});
  c.output("whole", c.one("embedding_layer_norm",
                          {ids, types, positions, c.weight("words", {10, 6}), c.weight("types", {2, 6}),
                           c.weight("places", {8, 6}), c.weight("gamma", {6}), c.weight("beta", {6})},
                          {{"epsilon", 1e-6}}));
  n.set_position_rule({});
}

struct NamedCase {
  const char* name;
  void (*build)(Case&);
};
constexpr NamedCase kCases[] = {
    {"elementwise", elementwise},
    {"whole_numbers", whole_numbers},
    {"whole_extremes", whole_extremes},
    {"unary", unary},
    {"reduce", reduce},
    {"softmax", softmax},
    {"layout", layout},
    {"shapes", shapes},
    {"quantized", quantized},
    {"by_channel", quantized_by_channel},
    {"dense", dense},
    {"attention", attention},
    {"pool", pool},
    {"names", names},
    {"embeddings", embeddings},
};

std::string file_name(std::string name) {
  for (char& c : name) {
    if (c == '/') c = '_';
  }
  return name;
}

void write_case(const NamedCase& named, int64_t opset, const std::string& folder) {
  Case c;
  named.build(c);
  const std::string stem = folder + "/" + named.name;
  try {
    export_onnx(c.network, stem + ".onnx", {.opset = opset});
  } catch (const Error& error) {
    std::printf("refused %s: %s\n", named.name, error.what());
    return;
  }
  for (const auto& [id, tensor] : c.inputs) {
    const Value& value = c.network.value(id);
    if (value.role != InputRole::position_ids) write_npy(stem + ".input." + file_name(value.name) + ".npy", tensor.view());
  }
  std::vector<ValueId> wanted;
  for (const auto& output : c.network.outputs()) wanted.push_back(output.value);
  const std::vector<Tensor> results = evaluate(c.network, wanted, c.inputs);
  for (size_t i = 0; i < results.size(); ++i) {
    write_npy(stem + ".output." + file_name(c.network.outputs()[i].name) + ".npy", results[i].view());
  }
}

}  // namespace
}  // namespace bertie

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  for (const auto& named : bertie::kCases) bertie::write_case(named, std::stoll(argv[1]), argv[2]);
  return 0;
}
