#include "tests/conformance/cases.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

namespace bertie::test {

std::mt19937 generator(const std::string& name) {
  std::seed_seq seed(name.begin(), name.end());
  return std::mt19937(seed);
}

namespace {
constexpr double kEpsilon = 0x1p-24;  // half an ulp of 1
}  // namespace

double sum_bound(int64_t terms, double magnitude) {
  return 8 * kEpsilon * (4 + std::sqrt(static_cast<double>(terms))) * magnitude;
}

int64_t total_of(const std::vector<int64_t>& lengths) { return std::accumulate(lengths.begin(), lengths.end(), int64_t{0}); }

std::vector<int64_t> random_ids(std::mt19937& random, int64_t count, int64_t limit) {
  std::uniform_int_distribution<int64_t> ids(0, limit - 1);
  std::vector<int64_t> values(static_cast<size_t>(count));
  for (int64_t& value : values) value = ids(random);
  return values;
}

namespace {

ConformanceCase layer_norm_case(int64_t rows, int64_t extent, float shift, bool skip, DType dtype = DType::f32) {
  ConformanceCase result;
  result.name = fmt::format("{} [{}, {}] mean {} gamma {}", skip ? "skip_layer_norm" : "layer_norm", rows, extent, shift,
                            dtype_name(dtype));
  auto random = generator(result.name);
  result.op.op = skip ? "skip_layer_norm" : "layer_norm";
  result.op.attributes = {{"epsilon", 1e-5}};
  result.op.inputs.push_back({random_tensor(random, {rows, extent}, DType::f32, 1, shift)});
  if (skip) result.op.inputs.push_back({random_tensor(random, {rows, extent})});
  result.op.inputs.push_back({random_tensor(random, {extent}, dtype, 0.2f, 1), true});
  result.op.inputs.push_back({random_tensor(random, {extent}, dtype), true});
  // A mean that dwarfs the deviation costs its ratio in digits; of one or two elements the deviation may be anything.
  const double amplification = 1 + std::abs(shift) + (extent <= 3 ? 100 : 0);
  result.element_bound = sum_bound(extent, 8 * amplification);
  result.whole_bound *= amplification;
  return result;
}

ConformanceCase embedding_layer_norm_case(int64_t rows, int64_t extent, DType dtype, bool wide, bool types, bool positions) {
  ConformanceCase result;
  result.name = fmt::format("embedding_layer_norm [{}, {}] {} {} {}{}", rows, extent, dtype_name(dtype), wide ? "i64" : "i32",
                            types ? "types " : "", positions ? "positions" : "");
  auto random = generator(result.name);
  const DType ids = wide ? DType::i64 : DType::i32;
  result.op.op = "embedding_layer_norm";
  result.op.attributes = {{"epsilon", 1e-12}};
  result.op.inputs.resize(6);
  const int64_t sizes[] = {50, 2, 20};
  const bool present[] = {true, types, positions};
  for (size_t table = 0; table < 3; ++table) {
    if (!present[table]) continue;
    result.op.inputs[table] = {indices({rows}, random_ids(random, rows, sizes[table]), ids)};
    result.op.inputs[table + 3] = {random_tensor(random, {sizes[table], extent}, dtype), true};
  }
  result.op.inputs.push_back({random_tensor(random, {extent}, DType::f32, 0.2f, 1), true});
  result.op.inputs.push_back({random_tensor(random, {extent}, DType::f32), true});
  result.element_bound = sum_bound(extent, extent <= 3 ? 1000 : 8);
  result.whole_bound = extent <= 3 ? 1e-4 : 2e-6;
  return result;
}

ConformanceCase gather_case(const std::string& op, int64_t rows, int64_t extent, DType dtype, bool wide) {
  ConformanceCase result;
  result.name = fmt::format("{} [{}, {}] {} {}", op, rows, extent, dtype_name(dtype), wide ? "i64" : "i32");
  auto random = generator(result.name);
  result.op.op = op;
  result.op.inputs = {{random_tensor(random, {30, extent}, dtype), op == "embedding"},
                      {indices({rows}, random_ids(random, rows, 30), wide ? DType::i64 : DType::i32)}};
  result.element_bound = 0;
  result.whole_bound = 0;
  return result;
}

ConformanceCase pool_case(const std::string& mode, std::vector<int64_t> lengths, int64_t extent,
                          std::vector<int32_t> queries_only = {}) {
  ConformanceCase result;
  result.name =
      fmt::format("pool {} {} x {} queries only {}", mode, fmt::join(lengths, ","), extent, fmt::join(queries_only, ","));
  auto random = generator(result.name);
  result.op.op = "pool";
  result.op.attributes = {{"mode", mode}};
  result.op.lengths = std::move(lengths);
  result.op.queries_only = std::move(queries_only);
  result.op.inputs = {{random_tensor(random, {total_of(result.op.lengths), extent})}, {}};
  result.element_bound = sum_bound(total_of(result.op.lengths), 8);
  result.whole_bound = 5e-6;
  return result;
}

ConformanceCase unary_case(const std::string& op, const std::string& attribute, const std::string& function, int64_t count,
                           float scale) {
  ConformanceCase result;
  result.name = fmt::format("{} {} [{}] of {}", op, function, count, scale);
  auto random = generator(result.name);
  result.op.op = op;
  result.op.attributes = {{attribute, function}};
  const bool positive = function == "sqrt" || function == "reciprocal";
  std::uniform_real_distribution<float> values(positive ? 0.1f : -scale, scale);
  std::vector<float> x(static_cast<size_t>(count));
  for (float& value : x) value = values(random);
  result.op.inputs = {{tensor_of({count}, x)}};
  const double largest = function == "exp" ? std::exp(scale) : function == "reciprocal" ? 10 : std::max(1.0f, scale);
  result.element_bound = 4 * kEpsilon * largest;
  if (count < 16) result.whole_bound = 1e-3;  // the GELU's error is absolute: a lone element may lie in its tail
  return result;
}

ConformanceCase elementwise_case(const std::string& function, const Shape& a, const Shape& b) {
  ConformanceCase result;
  result.name = fmt::format("elementwise {} {} {}", function, a.to_string(), b.to_string());
  auto random = generator(result.name);
  result.op.op = "elementwise";
  result.op.attributes = {{"function", function}};
  result.op.inputs = {{random_tensor(random, a)}, {random_tensor(random, b, DType::f32, 0.1f, 2)}};
  result.element_bound = 16 * kEpsilon;
  result.whole_bound = 1e-7;
  return result;
}

ConformanceCase linear_case(int64_t rows, int64_t depth, int64_t columns, DType dtype, const std::string& activation, bool bias) {
  ConformanceCase result;
  result.name =
      fmt::format("linear [{}, {}] x {} {} {}{}", rows, depth, columns, dtype_name(dtype), activation, bias ? " bias" : "");
  auto random = generator(result.name);
  result.op.op = "linear";
  result.op.attributes = {{"activation", activation}};
  result.op.inputs = {{random_tensor(random, {rows, depth})}, {random_tensor(random, {columns, depth}, dtype), true}, {}};
  if (bias) result.op.inputs[2] = {random_tensor(random, {columns}, dtype), true};
  result.element_bound = sum_bound(depth, 4 * (1 + std::sqrt(static_cast<double>(depth))));
  return result;
}

}  // namespace

// Of a padded tensor whose first two extents are the batch's, or 1.
ConformanceCase pack_rows_case(const Shape& x, DType dtype, std::vector<int64_t> lengths, std::vector<int32_t> columns) {
  ConformanceCase result;
  result.name = fmt::format("pack_rows {} {} to {}", x.to_string(), dtype_name(dtype), fmt::join(lengths, ","));
  auto random = generator(result.name);
  result.op.op = "pack_rows";
  result.op.inputs = {{random_tensor(random, x, dtype)}};
  result.op.lengths = std::move(lengths);
  result.op.columns = std::move(columns);
  result.element_bound = 0;
  result.whole_bound = 0;
  return result;
}

std::vector<ConformanceCase> row_op_cases() {
  std::vector<ConformanceCase> cases;
  for (int64_t extent : {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130, 384, 387, 768, 1024}) {
    for (bool skip : {false, true}) cases.push_back(layer_norm_case(5, extent, 0, skip));
    cases.push_back(embedding_layer_norm_case(3, extent, DType::f16, false, true, true));
    cases.push_back(pool_case("mean", {3, 1, 0, 40}, extent));
    cases.push_back(gather_case("embedding", 7, extent, DType::bf16, false));
    ConformanceCase normalize{fmt::format("normalize {}", extent), {}, sum_bound(extent, 1)};
    auto random = generator(normalize.name);
    normalize.op = {"normalize", {{"epsilon", 1e-12}}, {{random_tensor(random, {4, extent})}}, {}, {}};
    cases.push_back(normalize);
  }
  for (int64_t rows : {0, 1, 2, 100, 300}) {
    cases.push_back(layer_norm_case(rows, 96, 0, false));
    cases.push_back(layer_norm_case(rows, 96, 100, true, DType::bf16));
    cases.push_back(gather_case("gather_rows", rows, 100, DType::f32, false));
  }
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (bool wide : {false, true}) {
      cases.push_back(embedding_layer_norm_case(9, 70, dtype, wide, true, true));
      cases.push_back(embedding_layer_norm_case(9, 70, dtype, wide, false, true));
      cases.push_back(embedding_layer_norm_case(9, 70, dtype, wide, true, false));
      cases.push_back(embedding_layer_norm_case(9, 70, dtype, wide, false, false));
      cases.push_back(gather_case("embedding", 9, 70, dtype, wide));
    }
  }
  for (const char* mode : {"mean", "cls", "max", "mean_sqrt_length"}) {
    cases.push_back(pool_case(mode, {}, 40));
    cases.push_back(pool_case(mode, {0}, 40));
    cases.push_back(pool_case(mode, {1, 0, 17, 2, 0}, 300));
    cases.push_back(pool_case(mode, {1, 0, 17, 2, 3}, 70, {1, 0, 1, 2, 0}));
    ConformanceCase padded{fmt::format("pool padded {}", mode), {}, sum_bound(5, 8)};
    auto random = generator(padded.name);
    padded.op = {"pool", {{"mode", std::string(mode)}}, {{random_tensor(random, {2, 5, 30})}, {}}, {}, {}};
    cases.push_back(padded);
  }
  for (const Shape& shape : {Shape{3, 7, 5}, Shape{1, 7, 5}, Shape{3, 1, 5}, Shape{3, 7}, Shape{1, 1, 2, 3}, Shape{3, 7, 0}}) {
    cases.push_back(pack_rows_case(shape, DType::f32, {4, 0, 7}, {}));
    cases.push_back(pack_rows_case(shape, DType::f32, {2, 1, 2}, {0, 6, 3, 1, 2}));
  }
  cases.push_back(pack_rows_case({0, 0, 5}, DType::f32, {}, {}));
  return cases;
}

std::vector<ConformanceCase> element_op_cases() {
  std::vector<ConformanceCase> cases;
  for (const char* function : {"relu", "silu", "tanh", "sigmoid", "erf", "exp", "sqrt", "reciprocal", "neg", "abs"}) {
    for (float scale : {1.0f, 10.0f}) cases.push_back(unary_case("unary", "function", function, 1003, scale));
  }
  for (int64_t count : {0, 1, 15, 16, 17, 8193, 20000}) {
    cases.push_back(unary_case("gelu", "approximate", "none", count, 8));
    cases.push_back(unary_case("gelu", "approximate", "tanh", count, 8));
  }
  for (const char* function : {"add", "sub", "mul", "div", "min", "max"}) {
    cases.push_back(elementwise_case(function, {3, 5, 19}, {3, 5, 19}));
    cases.push_back(elementwise_case(function, {3, 5, 19}, {19}));
    cases.push_back(elementwise_case(function, {19}, {3, 5, 19}));
    cases.push_back(elementwise_case(function, {70, 33}, {1, 33}));
    cases.push_back(elementwise_case(function, {70, 33}, {1}));
    cases.push_back(elementwise_case(function, {}, {40, 100}));
    cases.push_back(elementwise_case(function, {0, 4}, {0, 4}));
  }
  return cases;
}

std::vector<ConformanceCase> linear_cases() {
  std::vector<ConformanceCase> cases;
  for (int64_t rows : {0, 1, 2, 7, 13, 14, 15, 57, 130}) cases.push_back(linear_case(rows, 100, 70, DType::f32, "none", true));
  for (int64_t depth : {1, 15, 16, 17, 383, 384, 385, 769}) cases.push_back(linear_case(5, depth, 33, DType::f32, "none", true));
  for (int64_t columns : {1, 15, 16, 17, 31, 127, 129}) cases.push_back(linear_case(17, 48, columns, DType::f32, "none", false));
  for (const char* activation : {"none", "gelu", "gelu_tanh", "relu", "silu", "tanh"}) {
    for (DType dtype : {DType::f32, DType::f16, DType::bf16}) cases.push_back(linear_case(20, 64, 50, dtype, activation, true));
  }
  for (int64_t rows : {0, 1, 127, 128, 129}) cases.push_back(linear_case(rows, 384, 264, DType::f32, "gelu", true));
  for (int64_t columns : {8, 32, 40, 512}) cases.push_back(linear_case(130, 520, columns, DType::f32, "gelu", columns != 40));
  return cases;
}

namespace {

ConformanceCase plain_case(const std::string& op, Attributes attributes, std::vector<Operand> inputs, const std::string& detail) {
  ConformanceCase result;
  result.name = op + " " + detail;
  result.op.op = op;
  result.op.attributes = std::move(attributes);
  result.op.inputs = std::move(inputs);
  result.element_bound = 16 * kEpsilon;
  return result;
}

}  // namespace

std::vector<ConformanceCase> matmul_cases() {
  std::vector<ConformanceCase> cases;
  const auto add = [&](const Shape& a, const Shape& b) {
    std::mt19937 random(7);
    const double depth = static_cast<double>(a.back());
    cases.push_back(plain_case("matmul", {}, {{random_tensor(random, a)}, {random_tensor(random, b)}},
                               a.to_string() + " by " + b.to_string()));
    cases.back().element_bound = 32 * kEpsilon * std::sqrt(depth + 1);
  };
  for (int64_t rows : {0, 1, 2, 13, 109}) add({rows, 40}, {40, 33});
  for (int64_t depth : {0, 1, 15, 16, 17, 383, 384, 385, 769}) add({5, depth}, {depth, 33});
  for (int64_t columns : {0, 1, 15, 16, 17, 129, 300}) add({17, 48}, {48, columns});
  add({2, 3, 7, 16}, {2, 3, 16, 7});  // scores and values of heads
  add({20, 5, 9}, {20, 9, 4});        // more products than threads share alike
  add({2, 3, 7, 16}, {16, 5});        // one b for all
  add({7, 16}, {4, 16, 5});           // one a for all
  add({2, 1, 7, 16}, {3, 16, 5});     // both repeated
  add({0, 7, 16}, {0, 16, 5});
  return cases;
}

std::vector<ConformanceCase> padded_op_cases() {
  std::vector<ConformanceCase> cases;
  std::mt19937 random(8);
  for (int64_t extent : {1, 2, 15, 16, 17, 63, 64, 65, 300, 9000}) {
    for (float scale : {1.0f, 30.0f}) {
      cases.push_back(plain_case("softmax", {}, {{random_tensor(random, {3, 5, extent}, DType::f32, scale, -scale)}},
                                 fmt::format("{} x{}", extent, scale)));
    }
    for (const char* function : {"sum", "mean"}) {
      for (int64_t keep : {0, 1}) {
        cases.push_back(
            plain_case("reduce", {{"function", std::string(function)}, {"keep_dims", keep}},
                       {{random_tensor(random, {3, 5, extent}, DType::f32, 1, 1)}, {indices({1}, {-1}, DType::i64), true}},
                       fmt::format("{} {}", function, extent)));
        cases.back().element_bound = 4 * kEpsilon * static_cast<double>(extent);
      }
    }
  }
  cases.push_back(plain_case("softmax", {{"axis", int64_t{1}}}, {{random_tensor(random, {0, 4})}}, "empty"));
  struct {
    Shape shape;
    std::vector<int64_t> permutation;
  } const kTransposes[] = {{{2, 5, 3, 17}, {0, 2, 1, 3}},
                           {{2, 5, 3, 17}, {0, 2, 3, 1}},
                           {{2, 3, 33, 65}, {0, 1, 3, 2}},
                           {{31, 32}, {1, 0}},
                           {{64, 33}, {}},
                           {{3, 4, 5}, {2, 1, 0}},
                           {{3, 4, 5}, {1, 2, 0}},
                           {{0, 4}, {1, 0}},
                           {{2, 3, 4}, {0, 1, 2}},
                           {{1, 1}, {1, 0}}};
  for (const auto& [shape, permutation] : kTransposes) {
    Attributes attributes;
    if (!permutation.empty()) attributes["permutation"] = permutation;
    cases.push_back(plain_case("transpose", std::move(attributes), {{random_tensor(random, shape)}},
                               fmt::format("{} {}", shape.to_string(), fmt::join(permutation, ","))));
    cases.back().element_bound = 0;
  }
  const std::pair<Shape, Shape> kBroadcasts[] = {
      {{2, 3, 5, 19}, {2, 1, 1, 19}}, {{2, 3, 5, 19}, {2, 3, 5, 1}}, {{2, 1, 5, 19}, {3, 1, 19}}, {{4, 1}, {1, 33}},
      {{5, 1}, {2, 1, 17}},           {{2, 3, 1}, {2, 3, 70}},       {{0, 3, 4}, {1, 3, 1}}};
  for (const char* function : {"add", "mul", "max"}) {
    for (const auto& [a, b] : kBroadcasts) {
      cases.push_back(elementwise_case(function, a, b));
      cases.push_back(elementwise_case(function, b, a));
    }
  }
  return cases;
}

std::vector<ConformanceCase> copied_op_cases() {
  std::vector<ConformanceCase> cases;
  std::mt19937 random(9);
  const auto add = [&](const std::string& op, Attributes attributes, std::vector<Operand> inputs, const std::string& detail) {
    cases.push_back(plain_case(op, std::move(attributes), std::move(inputs), detail));
    cases.back().element_bound = 0;
  };
  const auto numbers = [](const std::vector<int64_t>& values) {
    return Operand{indices({static_cast<int64_t>(values.size())}, values, DType::i64), true};
  };
  struct {
    Shape shape;
    std::vector<int64_t> starts, ends, axes, steps;
  } const kSlices[] = {{{4, 6, 16}, {1}, {5}, {1}, {1}},
                       {{4, 6, 16}, {0, 4}, {2, 12}, {0, 2}, {1, 1}},
                       {{4, 6, 15}, {-1}, {-7}, {1}, {-1}},
                       {{4, 6, 16}, {1}, {1000}, {2}, {3}},
                       {{4, 6}, {2}, {2}, {0}, {1}},
                       {{33}, {-5}, {33}, {0}, {1}},
                       {{2, 1, 7, 8}, {0, 0}, {1, 7}, {0, 2}, {1, 2}},
                       {{0, 3}, {0}, {2}, {1}, {1}}};
  for (const auto& c : kSlices) {
    add("slice", {}, {{random_tensor(random, c.shape)}, numbers(c.starts), numbers(c.ends), numbers(c.axes), numbers(c.steps)},
        fmt::format("{} from {} to {} by {}", c.shape.to_string(), fmt::join(c.starts, ","), fmt::join(c.ends, ","),
                    fmt::join(c.steps, ",")));
  }
  for (int64_t axis : {0, 1, -1}) {
    std::vector<Operand> parts;
    for (int64_t extent : {3, 0, 5, 16}) {
      std::vector<int64_t> extents{4, 3, 8};
      extents[static_cast<size_t>(axis < 0 ? 2 : axis)] = extent;
      parts.push_back({random_tensor(random, Shape(std::span<const int64_t>(extents))), extent == 5});
    }
    add("concat", {{"axis", axis}}, parts, fmt::format("along {}", axis));
  }
  add("concat", {{"axis", int64_t{0}}}, {{random_tensor(random, {2, 3}, DType::f16)}, {random_tensor(random, {1, 3})}}, "mixed");
  const std::pair<Shape, std::vector<int64_t>> kExpansions[] = {{{3, 1, 5}, {3, 4, 5}}, {{5}, {2, 3, 5}}, {{1, 1, 1}, {2, 3, 17}},
                                                                {{3, 1}, {1, 1}},       {{2, 3}, {2, 3}}, {{1, 4}, {0, 4}}};
  for (const auto& [shape, target] : kExpansions)
    add("expand", {}, {{random_tensor(random, shape)}, numbers(target)}, fmt::format("to {}", fmt::join(target, ",")));
  for (int64_t axis : {0, 1, 2}) {
    for (int64_t width : {1, 3, 8})
      add("gather", {{"axis", axis}}, {{random_tensor(random, {4, 5, width + 3})}, numbers({2, -1, 0, 3, 3})},
          fmt::format("along {} of {}", axis, width));
    add("gather", {{"axis", axis}}, {{random_tensor(random, {4, 5, 6}, DType::f16)}, {indices({}, {-2}, DType::i32), true}},
        fmt::format("one along {}", axis));
  }
  const auto truths = [&](const Shape& shape) {
    const auto count = static_cast<size_t>(shape.elements());
    std::shared_ptr<uint8_t[]> storage(new uint8_t[count + 1]);
    for (size_t i = 0; i < count; ++i) storage[i] = random() % 2;
    return Operand{{DType::boolean, shape, std::shared_ptr<const void>(storage, storage.get())}};
  };
  add("where", {}, {truths({3, 4, 5}), {random_tensor(random, {3, 4, 5})}, {random_tensor(random, {3, 4, 5})}}, "alike");
  add("where", {}, {truths({2, 1, 1, 7}), {random_tensor(random, {2, 3, 7, 7})}, {random_tensor(random, {}), true}}, "a mask");
  add("where", {}, {truths({4, 1}), {random_tensor(random, {1, 9})}, {random_tensor(random, {9}, DType::f16)}}, "both broadcast");
  add("where", {}, {truths({0, 2}), {random_tensor(random, {2})}, {random_tensor(random, {1, 1})}}, "empty");
  add("reshape", {}, {{random_tensor(random, {4, 6, 5})}, numbers({0, -1})}, "to rows");
  add("unsqueeze", {}, {{random_tensor(random, {4, 6})}, numbers({1, 3})}, "");
  add("squeeze", {}, {{random_tensor(random, {4, 1, 6})}, numbers({1})}, "");
  for (DType dtype : {DType::i32, DType::i64})
    add("cast", {{"to", std::string("f32")}}, {{indices({7}, {0, -1, 3, 16777217, -2147483647, 5, 100}, dtype)}},
        std::string(dtype_name(dtype)));
  add("cast", {{"to", std::string("f32")}}, {truths({3, 5})}, "bool");
  const std::vector<std::vector<int64_t>> kAxes = {{0}, {1}, {0, 2}, {0, 1, 2}, {-2, -1}};
  for (const char* function : {"mean", "sum", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "log_sum_exp"}) {
    for (const auto& axes : kAxes) {
      const bool logarithm = function == std::string("log_sum");
      Tensor x = random_tensor(random, {3, 40, 5}, DType::f32, logarithm ? 0.1f : 0.5f, 1);
      cases.push_back(plain_case("reduce", {{"function", std::string(function)}, {"keep_dims", int64_t{0}}},
                                 {{std::move(x)}, numbers(axes)}, fmt::format("{} over {}", function, fmt::join(axes, ","))));
      cases.back().element_bound = 4 * kEpsilon * 600;
      if (function == std::string("prod")) cases.back().element_bound *= 1e3, cases.back().whole_bound = 1e-4;
    }
  }
  cases.push_back(plain_case("reduce", {{"function", std::string("max")}}, {{random_tensor(random, {70, 33})}, {}}, "of all"));
  for (int64_t axis : {0, 1}) {
    cases.push_back(
        plain_case("softmax", {{"axis", axis}}, {{random_tensor(random, {5, 40, 7})}}, fmt::format("along {}", axis)));
    cases.push_back(plain_case("softmax", {{"axis", axis}, {"logarithm", int64_t{1}}}, {{random_tensor(random, {5, 40, 7})}},
                               fmt::format("logarithm along {}", axis)));
    cases.back().element_bound = 64 * kEpsilon;
  }
  return cases;
}

std::vector<ConformanceCase> top_k_cases() {
  std::vector<ConformanceCase> cases;
  std::mt19937 random(10);
  const auto add = [&](Tensor x, int64_t k, const std::string& detail) {
    cases.push_back(plain_case("top_k_log_sum_exp", {{"k", k}}, {{std::move(x)}}, fmt::format("{} {}", k, detail)));
    cases.back().element_bound = 64 * kEpsilon;  // of places none at all
    cases.back().whole_bound = 1e-6;
  };
  for (int64_t extent : {1, 2, 15, 16, 17, 63, 64, 65, 129, 1023, 1024, 1025, 30522}) {
    for (int64_t k : {1, 2, 5, 64}) {
      if (k <= extent) add(random_tensor(random, {3, extent}, DType::f32, 2), k, fmt::format("of {}", extent));
    }
  }
  for (int64_t extent : {16, 256}) add(random_tensor(random, {2, 1, extent}), extent, "in order");
  add(random_tensor(random, {0, 40}), 3, "empty");
  // Equal ones, rising and falling ones, and numbers so large that their exponentials are not.
  for (float step : {0.0f, 0.25f, -0.25f}) {
    std::vector<float> values;
    for (int i = 0; i < 600; ++i) values.push_back(200 + step * static_cast<float>(i / 3));
    add(tensor_of({2, 300}, values), 7, fmt::format("steps of {}", step));
  }
  return cases;
}

Tensor slice_rows(const Tensor& tensor, int64_t begin, int64_t rows) {
  const int64_t width = tensor.shape.back();
  const float* data = tensor.view().as<float>() + begin * width;
  return tensor_of({rows, width}, std::vector<float>(data, data + rows * width));
}

void expect_same_bits(const std::string& what, std::span<const float> a, std::span<const float> b) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::memcmp(&a[i], &b[i], sizeof(float)), 0)
        << what << ": first bad element " << i << " is " << a[i] << ", not " << b[i];
  }
}

}  // namespace bertie::test
