// Networks in every mixture of packed and padded parts against evaluate(), which runs the network as it was laid down.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "base/message_of_test.h"
#include "bertie/engine.h"
#include "cpu/backend.h"
#include "engine/backends.h"
#include "engine/engine_impl.h"
#include "engine/fake_device_test.h"
#include "passes/row_rules.h"
#include "reference/backend.h"
#include "reference/evaluate.h"

namespace bertie {
namespace {

using testing::HasSubstr;

constexpr int64_t kVocabulary = 30, kHidden = 16, kHeads = 2, kPositions = 12, kBatch = 5, kColumns = 7;

// An encoder laid down by hand; parts are added to it by the tests.
struct Hand {
  Network network;
  std::mt19937 random{17};
  ValueId ids = kNone, mask = kNone, types = kNone, positions = kNone;

  explicit Hand(DType mask_dtype = DType::i64) {
    const SymbolicShape padded = {"batch", "sequence"};
    ids = network.add_input("input_ids", DType::i64, padded);
    mask = network.add_input("attention_mask", mask_dtype, padded);
    types = network.add_input("token_type_ids", DType::i64, padded);
    positions = network.add_input("position_ids", DType::i64, padded);
  }

  ValueId constant(const Shape& shape, float scale = 0.5f, float centre = 0) {
    std::normal_distribution<float> normal(centre, scale);
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    for (float& value : values) value = normal(random);
    return network.add_constant("weight", Tensor::from_floats(shape, values));
  }
  ValueId scalar(float value) { return network.add_constant("scalar", Tensor::from_floats({}, std::span(&value, 1))); }
  ValueId linear(ValueId x, int64_t rows = kHidden, const std::string& name = "") {
    const int64_t columns = network.value(x).shape.back().size;
    return network.add_linear(x, constant({rows, columns}), constant({rows}), name);
  }
  ValueId norm(ValueId x) { return network.add_layer_norm(x, constant({kHidden}, 0.1f, 1), constant({kHidden}), 1e-6); }
  ValueId add(ValueId a, ValueId b, const std::string& name = "") { return network.add_elementwise("add", a, b, name); }
  ValueId embeddings(ValueId places) {
    const ValueId sum =
        add(network.add_embedding(constant({kVocabulary, kHidden}), ids), network.add_embedding(constant({2, kHidden}), types));
    return norm(add(sum, network.add_embedding(constant({kPositions, kHidden}), places, "positions")));
  }
  ValueId layer(ValueId x, const std::string& name) {
    const ValueId context = network.add_attention(linear(x), linear(x), linear(x), mask, kNone, kHeads, 0.4, name);
    x = norm(add(linear(context), x));
    return norm(add(linear(network.add_gelu(linear(x, 24))), x));
  }
  ValueId encoder() { return layer(layer(embeddings(positions), "first"), "second"); }
};

template <typename T>
Tensor tensor(DType dtype, const Shape& shape, const std::vector<T>& values) {
  std::shared_ptr<T[]> storage(new T[values.size() + 1]);
  std::copy(values.begin(), values.end(), storage.get());
  return {dtype, shape, std::shared_ptr<const void>(storage, storage.get())};
}

Tensor float_tensor(const Shape& shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (float& value : values) value = normal(random);
  return Tensor::from_floats(shape, values);
}

// Right padding, left padding, holes, everything, nothing.
std::vector<int64_t> mask_values() {
  return {1, 1, 1, 0, 0, 0, 0,  //
          0, 0, 0, 1, 1, 1, 1,  //
          0, 1, 0, 1, 1, 0, 1,  //
          1, 1, 1, 1, 1, 1, 1,  //
          0, 0, 0, 0, 0, 0, 0};
}

std::vector<NamedTensor> inputs() {
  std::mt19937 random(3);
  std::vector<int64_t> ids, types, positions;
  for (int64_t i = 0; i < kBatch * kColumns; ++i) {
    ids.push_back(static_cast<int64_t>(random() % kVocabulary));
    types.push_back(static_cast<int64_t>(random() % 2));
    positions.push_back(static_cast<int64_t>(random() % kPositions));
  }
  const Shape shape{kBatch, kColumns};
  return {{"input_ids", Tensor::from_int64s(shape, ids), {}},
          {"attention_mask", Tensor::from_int64s(shape, mask_values()), {}},
          {"token_type_ids", Tensor::from_int64s(shape, types), {}},
          {"position_ids", Tensor::from_int64s(shape, positions), {}}};
}

// Device "fake": all steps on a fake device; "few": those alone that its backend has kernels for, the others beside it.
std::shared_ptr<const Engine> build(const Network& network, const EngineOptions& options) {
  if (options.device != "fake" && options.device != "few") return Engine::build(network, options);
  const Backend& device = options.device == "fake" ? fake_backend() : fake_backend_of_few();
  return Engine::Impl::build(network, options,
                             Target{{&device, &cpu_backend(), &reference_backend()},
                                    {"fake:0"},
                                    {Precision{"fp32"}, Precision{"fp16"}, Precision{"int8", true}}});
}

// Each output of the engine against that of the network, in the caller's shape: a value of the encoder's to rounding where a token
// is, zero where there is none; all else bit for bit.
void expect_equal(const Network& network, const std::vector<NamedTensor>& given, const EngineOptions& options) {
  std::map<ValueId, Tensor> known;
  for (const NamedTensor& input : given) {
    for (ValueId id : network.inputs()) {
      if (network.value(id).name == input.name) known[id] = input.tensor;
    }
  }
  std::vector<ValueId> wanted;
  for (const Network::Output& output : network.outputs()) wanted.push_back(output.value);
  const std::vector<Tensor> expected = evaluate(network, wanted, known);
  TensorSession session(build(network, options));
  const std::vector<int64_t> mask = mask_values();
  for (int repeat = 0; repeat < 2; ++repeat) {
    const std::vector<NamedTensor> results = session.run(given);
    ASSERT_EQ(results.size(), expected.size());
    for (size_t i = 0; i < results.size(); ++i) {
      const Tensor& result = results[i].tensor;
      ASSERT_EQ(result.shape, expected[i].shape) << results[i].name;
      ASSERT_EQ(result.dtype, expected[i].dtype) << results[i].name;
      if (!comes_from_encoder(network, wanted[i])) {
        EXPECT_EQ(std::memcmp(result.data.get(), expected[i].data.get(), result.bytes()), 0) << results[i].name;
        continue;
      }
      const SymbolicShape& shape = network.value(wanted[i]).shape;
      const bool per_token = has_rows(network, wanted[i]), per_sequence = !per_token && shape[0] == Dim("batch");
      const int64_t units = per_token ? kBatch * kColumns : per_sequence ? kBatch : 1;
      const int64_t width = result.shape.elements() / units;
      for (int64_t unit = 0; unit < units; ++unit) {
        bool counts = true;
        if (per_token) counts = mask[static_cast<size_t>(unit)] != 0;
        if (per_sequence) {
          const auto row = mask.begin() + unit * kColumns;
          counts = std::any_of(row, row + kColumns, [](int64_t keep) { return keep != 0; });
        }
        for (int64_t k = unit * width; k < (unit + 1) * width; ++k) {
          const float value = result.view().as<float>()[k];
          if (!counts) {
            ASSERT_EQ(value, 0) << results[i].name << ", element " << k;
          } else {
            ASSERT_NEAR(value, expected[i].view().as<float>()[k], 2e-5) << results[i].name << ", element " << k;
          }
        }
      }
    }
  }
}

struct PaddingTest : testing::TestWithParam<const char*> {
  EngineOptions options() const { return {.device = GetParam(), .threads = 2}; }
  void check(const Network& network, const std::vector<NamedTensor>& given = inputs()) const {
    expect_equal(network, given, options());
    EngineOptions padded = options();
    padded.disabled_passes = {"remove_padding"};
    expect_equal(network, given, padded);
  }
  // "packed packed padded ..." of the steps that work on rows.
  std::map<std::string, std::string> rows(const Network& network) const {
    std::map<std::string, std::string> result;
    const auto engine = build(network, options());
    for (const StepInfo& step : engine->steps()) result[step.name] = step.rows;
    return result;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, PaddingTest, testing::Values("cpu", "reference", "fake", "few"));

TEST_P(PaddingTest, AnEncoderIsPackedAndItsFirstColumnLives) {
  Hand hand;
  const ValueId x = hand.encoder();
  hand.network.add_output("last_hidden_state", x);
  hand.network.add_output("pooler_output",
                          hand.network.add_unary("tanh", hand.linear(hand.network.add_pool(x, hand.mask, "cls"))));
  hand.network.add_output("mean", hand.network.add_pool(x, hand.mask, "mean"));
  hand.network.add_output("largest", hand.network.add_pool(x, hand.mask, "max"));
  check(hand.network);
  const auto engine = build(hand.network, options());
  EXPECT_EQ(engine->execution().planned, GetParam() != std::string("few")) << engine->execution().reason;
  for (const StepInfo& step : engine->steps()) EXPECT_NE(step.rows, "padded") << step.name;
}

TEST_P(PaddingTest, APoolerAloneRunsOnFirstRows) {
  Hand hand;
  const ValueId x = hand.encoder();
  hand.network.add_output("pooler_output", hand.linear(hand.network.add_pool(x, kNone, "cls")));
  check(hand.network);
}

TEST_P(PaddingTest, MasksOfAnyDtype) {
  for (DType dtype : {DType::f32, DType::i32, DType::i64, DType::boolean}) {
    Hand hand(dtype);
    hand.network.add_output("last_hidden_state", hand.encoder());
    for (DType caller : {DType::f32, DType::u8, DType::boolean, DType::i64}) {
      auto given = inputs();
      const std::vector<int64_t> mask = mask_values();
      if (caller == DType::f32)
        given[1].tensor = tensor(caller, {kBatch, kColumns}, std::vector<float>(mask.begin(), mask.end()));
      if (caller == DType::u8 || caller == DType::boolean)
        given[1].tensor = tensor(caller, {kBatch, kColumns}, std::vector<uint8_t>(mask.begin(), mask.end()));
      TensorSession session(build(hand.network, options()));
      EngineOptions padded = options();
      padded.disabled_passes = {"remove_padding"};
      TensorSession whole(build(hand.network, padded));
      const auto a = session.run(given), b = whole.run(given);
      for (int64_t i = 0; i < a[0].tensor.shape.elements(); ++i)
        ASSERT_NEAR(a[0].tensor.view().as<float>()[i], b[0].tensor.view().as<float>()[i], 2e-5);
    }
  }
}

TEST_P(PaddingTest, WhatDoesNotComeFromTheEncoderKeepsItsValues) {
  Hand hand;
  const ValueId x = hand.encoder();
  hand.network.add_output("last_hidden_state", x);
  hand.network.add_output("ids", hand.ids);
  hand.network.add_output("float_mask",
                          hand.network.add_elementwise("mul", hand.network.add_cast(hand.mask, DType::f32), hand.scalar(-3.5f)));
  hand.network.add_output("shape", hand.network.add_node("shape", {x}, {})[0]);
  hand.network.add_output("width", hand.network.add_node("shape", {x}, {{"start", int64_t{-2}}})[0]);
  hand.network.add_output("twice", hand.network.add_elementwise("add", hand.ids, hand.types));
  check(hand.network);
  const auto steps = rows(hand.network);
  EXPECT_EQ(steps.at("second"), "packed");
}

TEST_P(PaddingTest, AnUnmaskedSumRunsPaddedWithAllBeforeIt) {
  Hand hand;
  const ValueId x = hand.layer(hand.embeddings(hand.positions), "first");
  const int64_t axis = 1;
  hand.network.add_output("sum", hand.norm(hand.network.add_reduce("sum_square", x, {&axis, 1}, false, "sum_of_all")));
  hand.network.add_output("last_hidden_state", hand.layer(x, "second"));
  check(hand.network);
  const auto engine = build(hand.network, options());
  EXPECT_FALSE(engine->execution().planned);
  const auto steps = rows(hand.network);
  EXPECT_EQ(steps.at("first"), "padded");
  EXPECT_EQ(steps.at("second"), "packed");
  for (const PassReport& pass : engine->passes()) {
    if (pass.name == "remove_padding") {
      EXPECT_THAT(pass.lines[0], HasSubstr("reduce 'sum_of_all' runs padded"));
      EXPECT_THAT(pass.lines[0], HasSubstr("it works along the sequence"));
    }
  }
}

TEST_P(PaddingTest, PositionsCountedInTheGraphStayPaddedAlone) {
  Hand hand;
  const ValueId axis = hand.network.add_constant("axis", Tensor::from_int64s({}, std::vector<int64_t>{1}));
  const ValueId places = hand.network.add_node("cumulative_sum", {hand.mask, axis}, {}, "count")[0];
  hand.network.add_output("last_hidden_state",
                          hand.layer(hand.embeddings(hand.network.add_elementwise("mul", places, hand.mask)), "first"));
  check(hand.network);
  const auto steps = rows(hand.network);
  EXPECT_EQ(steps.at("count"), "padded");
  EXPECT_EQ(steps.at("first"), "packed");
}

TEST_P(PaddingTest, OperandsThatSpreadOverRows) {
  Hand hand;
  const ValueId by_column = hand.network.add_input("by_column", DType::f32, {1, "sequence", kHidden});
  const ValueId by_sequence = hand.network.add_input("by_sequence", DType::f32, {"batch", 1, kHidden});
  const ValueId bare = hand.network.add_input("bare", DType::f32, {"sequence", kHidden});
  ValueId x = hand.add(hand.embeddings(hand.positions), by_column, "columns");
  x = hand.add(by_sequence, x);
  x = hand.add(x, bare);
  x = hand.add(x, hand.constant({1, 1, kHidden}));
  x = hand.network.add_elementwise("mul", hand.constant({1, kHidden}), x);
  hand.network.add_output("last_hidden_state", hand.layer(x, "first"));
  auto given = inputs();
  given.push_back({"by_column", float_tensor({1, kColumns, kHidden}, 1), {}});
  given.push_back({"by_sequence", float_tensor({kBatch, 1, kHidden}, 2), {}});
  given.push_back({"bare", float_tensor({kColumns, kHidden}, 3), {}});
  check(hand.network, given);
  EXPECT_EQ(rows(hand.network).at("first"), "packed");
}

TEST_P(PaddingTest, ElementaryOpsBehindTheRowsArePacked) {
  Hand hand;
  Network& n = hand.network;
  const auto integers = [&](std::vector<int64_t> numbers) { return n.add_integers(numbers); };
  const ValueId x = hand.embeddings(hand.positions);
  const ValueId heads = n.add_reshape(x, std::vector<int64_t>{0, 0, kHeads, kHidden / kHeads}, "heads");
  const ValueId turned = n.add_transpose(heads, {0, 1, 3, 2}, "turned");
  const ValueId weights = n.add_softmax(n.add_matmul(heads, turned, "products"), -1, "weights");
  const ValueId mixed = n.add_reshape(n.add_matmul(weights, heads, "mixed"), std::vector<int64_t>{0, 0, kHidden}, "flat");
  const ValueId left = n.add_slice(mixed, 2, 0, 6, "left"), right = n.add_slice(mixed, -1, 6, kHidden, "right");
  const ValueId joined = n.add_concat({right, left}, -1, "joined");
  const auto halves = n.add_node("split", {joined}, {{"axis", int64_t{2}}, {"parts", int64_t{2}}}, "halves");
  const ValueId sum = n.add_elementwise("add", halves[0], halves[1]);
  const ValueId scaled = n.add_node("unsqueeze", {sum, integers({3})}, {}, "up")[0];
  const ValueId back = n.add_node("squeeze", {scaled, integers({-1})}, {}, "down")[0];
  const int64_t last = -1;
  const ValueId mean = n.add_reduce("mean", back, {&last, 1}, true, "mean");
  const ValueId positive = n.add_elementwise("greater", back, mean, "positive");
  const ValueId chosen = n.add_where(positive, back, n.add_unary("neg", back), "chosen");
  const ValueId picked =
      n.add_gather(chosen, n.add_constant("picks", Tensor::from_int64s({3}, std::vector<int64_t>{0, 5, 2})), 2, "picked");
  const ValueId product = n.add_matmul(picked, hand.constant({3, kHidden}), "product");
  n.add_output("y", hand.layer(product, "first"));
  check(n);
  const auto engine = build(n, options());
  for (const StepInfo& step : engine->steps()) EXPECT_EQ(step.rows, "packed") << step.name;
}

// A layer whose attention is in pieces, its scores changed by an input "far" as `function` has it, and another behind it. Keys whose mask is 0
// lose all their weight.
void add_layer_in_pieces(Hand& hand, const std::string& function) {
  Network& n = hand.network;
  const ValueId x = hand.embeddings(hand.positions);
  const auto heads = [&](ValueId value) {
    return n.add_transpose(n.add_reshape(value, std::vector<int64_t>{0, 0, kHeads, kHidden / kHeads}), {0, 2, 1, 3});
  };
  const ValueId scores = n.add_matmul(heads(hand.linear(x)), n.add_transpose(heads(hand.linear(x)), {0, 1, 3, 2}), "scores");
  const ValueId far = n.add_input("far", DType::f32, {1, 1, "sequence", "sequence"});
  const ValueId bias = n.add_elementwise(
      "mul",
      n.add_elementwise(
          "sub", n.add_cast(n.add_node("unsqueeze", {hand.mask, n.add_integers(std::vector<int64_t>{1, 2})}, {})[0], DType::f32),
          hand.scalar(1)),
      hand.scalar(1e4f));
  const ValueId weights = n.add_softmax(hand.add(n.add_elementwise(function, scores, far), bias), -1, "weights");
  const ValueId context = n.add_transpose(n.add_matmul(weights, heads(hand.linear(x)), "context"), {0, 2, 1, 3});
  const ValueId y = hand.norm(hand.add(n.add_reshape(context, std::vector<int64_t>{0, 0, kHidden}), x));
  n.add_output("last_hidden_state", hand.layer(y, "second"));
}

TEST_P(PaddingTest, AttentionInPiecesRunsPadded) {
  Hand hand;
  add_layer_in_pieces(hand, "mul");  // which no pattern knows
  auto given = inputs();
  given.push_back({"far", float_tensor({1, 1, kColumns, kColumns}, 4), {}});
  check(hand.network, given);
  const auto steps = rows(hand.network);
  EXPECT_EQ(steps.at("weights"), "padded");
  EXPECT_EQ(steps.at("second"), "packed");
}

TEST_P(PaddingTest, AttentionWithABiasByQueryAndKeyIsOneStepAndRunsPadded) {
  Hand hand;
  add_layer_in_pieces(hand, "add");
  auto given = inputs();
  given.push_back({"far", float_tensor({1, 1, kColumns, kColumns}, 4), {}});
  check(hand.network, given);
  const auto steps = rows(hand.network);
  EXPECT_FALSE(steps.contains("weights"));
  EXPECT_EQ(steps.at("context"), "padded");
  EXPECT_EQ(steps.at("second"), "packed");
}

TEST_P(PaddingTest, WithoutAMaskNoRowIsPadding) {
  Network network;
  Hand hand;
  std::mt19937 random(1);
  const ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  const ValueId x = network.add_embedding(network.add_constant("table", float_tensor({kVocabulary, kHidden}, 9)), ids);
  network.add_output("y", network.add_attention(x, x, x, kNone, kNone, kHeads, 0.3));
  network.add_output("mean", network.add_pool(x, kNone, "mean"));
  TensorSession session(build(network, options()));
  const auto given = std::vector<NamedTensor>{inputs()[0]};
  const auto results = session.run(given);
  const std::vector<ValueId> wanted = {network.outputs()[0].value, network.outputs()[1].value};
  const auto expected = evaluate(network, wanted, {{ids, given[0].tensor}});
  for (size_t i = 0; i < 2; ++i) {
    for (int64_t k = 0; k < expected[i].shape.elements(); ++k)
      ASSERT_NEAR(results[i].tensor.view().as<float>()[k], expected[i].view().as<float>()[k], 1e-5);
  }
  EXPECT_THAT(message_of([&] {
                session.run(std::vector<NamedTensor>{given[0], inputs()[1]});
              }),
              HasSubstr("no input attention_mask; it has input_ids"));
}

TEST_P(PaddingTest, AbsentInputsTakeTheirDefaults) {
  Hand hand;
  hand.network.set_position_rule({.first = 2, .padding_id = 1});
  hand.network.add_output("last_hidden_state", hand.encoder());
  auto given = inputs();
  std::vector<int64_t> positions, ones(kBatch * kColumns, 1), zeros(kBatch * kColumns, 0);
  for (int64_t i = 0, next = 2; i < kBatch * kColumns; ++i) {
    if (i % kColumns == 0) next = 2;
    positions.push_back(given[0].tensor.view().as<int64_t>()[i] == 1 ? 1 : next++);
  }
  const Shape shape{kBatch, kColumns};
  given[1].tensor = Tensor::from_int64s(shape, ones);
  given[2].tensor = Tensor::from_int64s(shape, zeros);
  given[3].tensor = Tensor::from_int64s(shape, positions);
  for (const bool packed : {true, false}) {
    EngineOptions own = options();
    if (!packed) own.disabled_passes = {"remove_padding"};
    TensorSession session(build(hand.network, own));
    const auto all = session.run(given);
    const auto alone = session.run(std::span(given).first(1));
    EXPECT_EQ(std::memcmp(all[0].tensor.data.get(), alone[0].tensor.data.get(), all[0].tensor.bytes()), 0);
  }
}

TEST_P(PaddingTest, BadTensorsAreNamed) {
  Hand hand;
  hand.network.add_output("last_hidden_state", hand.encoder());
  for (const bool packed : {true, false}) {
    EngineOptions own = options();
    if (!packed) own.disabled_passes = {"remove_padding"};
    TensorSession session(build(hand.network, own));
    const auto says = [&](const std::vector<NamedTensor>& given) { return message_of([&] { session.run(given); }); };
    auto given = inputs();
    EXPECT_THAT(says({given[1]}), HasSubstr("the input input_ids is missing"));
    EXPECT_THAT(says({given[0], given[0]}), HasSubstr("input_ids is given twice"));
    given[1].tensor = Tensor::from_int64s({1, 2}, std::vector<int64_t>{1, 1});
    given[1].origin = "mask.npy";
    EXPECT_THAT(says(given), HasSubstr("mask.npy: the shape is [1, 2], but batch is 5 in input_ids"));
    given = inputs();
    given[0].tensor = float_tensor({kBatch, kColumns}, 1);
    EXPECT_THAT(says(given), HasSubstr("input_ids: the dtype is f32; an integer or bool is needed"));
    given[0].tensor = Tensor::from_int64s({3}, std::vector<int64_t>{1, 2, 3});
    EXPECT_THAT(says(given), HasSubstr("input_ids: the shape is [3]; [batch, sequence] is needed"));
    given = inputs();
    given[2].tensor = Tensor::from_int64s({kBatch, kColumns}, std::vector<int64_t>(kBatch * kColumns, 2));
    EXPECT_THAT(says(given), HasSubstr("out of range [0, 2)"));
    EXPECT_NO_THROW(session.run(inputs()));  // and it goes on
  }
}

TEST_P(PaddingTest, EmptyBatches) {
  Hand hand;
  const ValueId x = hand.encoder();
  hand.network.add_output("last_hidden_state", x);
  hand.network.add_output("pooler_output", hand.linear(hand.network.add_pool(x, hand.mask, "cls")));
  for (const bool packed : {true, false}) {
    EngineOptions own = options();
    if (!packed) own.disabled_passes = {"remove_padding"};
    TensorSession session(build(hand.network, own));
    for (const Shape& shape : {Shape{0, 4}, Shape{0, 0}, Shape{3, 0}}) {
      const auto results = session.run(std::vector<NamedTensor>{{"input_ids", Tensor::from_int64s(shape, {}), {}}});
      EXPECT_EQ(results[0].tensor.shape, (Shape{shape[0], shape[1], kHidden}));
      EXPECT_EQ(results[1].tensor.shape, (Shape{shape[0], kHidden}));
    }
  }
}

// A packed batch for a network that runs padded: the same values as where it is packed, and steady memory.
TEST_P(PaddingTest, BatchesOfPaddedNetworks) {
  Hand hand;
  const ValueId x = hand.encoder();
  hand.network.add_output("last_hidden_state", x);
  hand.network.add_output("pooler_output", hand.linear(hand.network.add_pool(x, hand.mask, "cls")));
  EngineOptions own = options();
  Session packed(build(hand.network, own));
  own.disabled_passes = {"remove_padding"};
  own.select_rows = {"last_hidden_state"};
  Session selected(build(hand.network, own));
  own.select_rows = {};
  Session padded(build(hand.network, own));
  const std::vector<int32_t> ids = {5, 6, 7, 1, 2, 3, 4, 9}, starts = {0, 3, 4, 8}, rows = {1, 3, 7};
  Batch batch;
  batch.token_ids = ids;
  batch.cumulative_lengths = starts;
  packed.run(batch);
  size_t bytes = 0;
  for (int repeat = 0; repeat < 4; ++repeat) {
    padded.run(batch);
    if (repeat == 0) bytes = padded.workspace_bytes();
    EXPECT_EQ(padded.workspace_bytes(), bytes);
  }
  const TensorView a = packed.output("last_hidden_state"), b = padded.output("last_hidden_state");
  ASSERT_EQ(b.shape, (Shape{3, 4, kHidden}));
  for (int64_t sequence = 0; sequence < 3; ++sequence) {
    for (int32_t token = starts[static_cast<size_t>(sequence)]; token < starts[static_cast<size_t>(sequence) + 1]; ++token) {
      const int64_t row = sequence * 4 + token - starts[static_cast<size_t>(sequence)];
      for (int64_t i = 0; i < kHidden; ++i)
        ASSERT_NEAR(a.as<float>()[token * kHidden + i], b.as<float>()[row * kHidden + i], 2e-5);
    }
  }
  const TensorView c = packed.output("pooler_output"), d = padded.output("pooler_output");
  for (int64_t i = 0; i < 3 * kHidden; ++i) ASSERT_NEAR(c.as<float>()[i], d.as<float>()[i], 2e-5);
  batch.head_rows = rows;
  selected.run(batch);
  const TensorView e = selected.output("last_hidden_state");
  ASSERT_EQ(e.shape, (Shape{3, kHidden}));
  for (size_t row = 0; row < rows.size(); ++row) {
    for (int64_t i = 0; i < kHidden; ++i)
      ASSERT_NEAR(a.as<float>()[rows[row] * kHidden + i], e.as<float>()[static_cast<int64_t>(row) * kHidden + i], 2e-5);
  }
}

// No padded row is computed: every step's result has one row a token.
TEST_P(PaddingTest, StepsComputeNoPaddedRow) {
  Hand hand;
  hand.network.add_output("last_hidden_state", hand.encoder());
  Session session(build(hand.network, options()));
  session.set_profiling(true);
  const std::vector<int32_t> ids = {5, 6, 7, 1, 2, 3, 4, 9}, starts = {0, 3, 4, 8};
  Batch batch;
  batch.token_ids = ids;
  batch.cumulative_lengths = starts;
  session.run(batch);
  ASSERT_EQ(session.step_times().size(), session.engine().steps().size());
  for (size_t i = 0; i < session.step_times().size(); ++i) {
    EXPECT_EQ(session.step_times()[i].output[0], 8) << session.engine().steps()[i].name;
    EXPECT_EQ(session.step_times()[i].output.rank(), 2);
  }
}

}  // namespace
}  // namespace bertie
