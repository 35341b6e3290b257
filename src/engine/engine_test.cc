// The engine and its sessions on a small encoder laid down by hand: passes change no value, batches are checked, run() allocates
// nothing, neighbours do not matter.
#include "bertie/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>
#include <thread>

#include "base/cpu_affinity.h"
#include "base/error.h"
#include "base/message_of_test.h"
#include "engine/counting_new_test.h"
#include "engine/engine_impl.h"
#include "engine/packed_test.h"
#include "passes/pass.h"

namespace bertie {
namespace {

using testing::HasSubstr;

constexpr int64_t kVocabulary = 50, kHidden = 32, kHeads = 4, kHeadDim = kHidden / kHeads, kFeedForward = 80, kPositions = 40,
                  kLabels = 3;

class Builder {
 public:
  Tensor random(const Shape& shape, float scale, float centre = 0) {
    std::normal_distribution<float> normal(centre, scale);
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    for (float& value : values) value = normal(engine_);
    return Tensor::from_floats(shape, values);
  }

  Network encoder() {
    const SymbolicShape padded = {"batch", "sequence"};
    const ValueId ids = network_.add_input("input_ids", DType::i64, padded);
    mask_ = network_.add_input("attention_mask", DType::i64, padded);
    const ValueId types = network_.add_input("token_type_ids", DType::i64, padded);
    const ValueId positions = network_.add_input("position_ids", DType::i64, padded);
    const ValueId words = network_.add_constant("words", random({kVocabulary, kHidden}, 1));
    ValueId x = add(embed(words, ids), embed(network_.add_constant("types", random({2, kHidden}, 1)), types));
    x = norm(add(x, embed(network_.add_constant("positions", random({kPositions, kHidden}, 1)), positions)));
    for (int layer = 0; layer < 2; ++layer) {
      const ValueId context = network_.add_attention(linear(x, kHidden), linear(x, kHidden), linear(x, kHidden), mask_, kNone,
                                                     kHeads, 1 / std::sqrt(static_cast<double>(kHeadDim)));
      x = norm(add(linear(context, kHidden), x));
      x = norm(add(linear(network_.add_gelu(linear(x, kFeedForward)), kHidden), x));
    }
    network_.add_output("last_hidden_state", x);
    network_.add_output("logits", network_.add_linear(norm(network_.add_gelu(linear(x, kHidden))), words, kNone, "decoder"));
    network_.add_output("labels",
                        linear(network_.add_unary("tanh", linear(network_.add_pool(x, mask_, "cls"), kHidden)), kLabels));
    network_.add_output("embedding", network_.add_normalize(network_.add_pool(x, mask_, "mean"), 1e-12));
    return std::move(network_);
  }

 private:
  ValueId linear(ValueId x, int64_t rows) {
    const int64_t columns = network_.value(x).shape.back().size;
    return network_.add_linear(x, network_.add_constant("weight", random({rows, columns}, 0.2f)),
                               network_.add_constant("bias", random({rows}, 0.2f)));
  }
  ValueId norm(ValueId x) {
    return network_.add_layer_norm(x, network_.add_constant("gamma", random({kHidden}, 0.1f, 1)),
                                   network_.add_constant("beta", random({kHidden}, 0.1f)), 1e-12);
  }
  ValueId add(ValueId a, ValueId b) { return network_.add_elementwise("add", a, b); }
  ValueId embed(ValueId table, ValueId ids) { return network_.add_embedding(table, ids); }

  Network network_;
  ValueId mask_ = kNone;
  std::mt19937 engine_{11};
};

const Network& encoder() {
  static const Network network = Builder().encoder();
  return network;
}

std::vector<int32_t> random_sequence(std::mt19937& random, size_t length) {
  std::vector<int32_t> ids(length);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % kVocabulary);
  return ids;
}

std::vector<float> values(const TensorView& view) { return {view.as<float>(), view.as<float>() + view.shape.elements()}; }

double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

constexpr SessionLimits kLimits{.tokens = 128, .sequences = 12, .longest = kPositions};

struct EngineTest : testing::TestWithParam<const char*> {
  EngineOptions options() const {
    EngineOptions options;
    options.device = GetParam();
    options.threads = 2;
    return options;
  }
};

TEST_P(EngineTest, PassesChangeNoValue) {
  Packed batch;
  std::mt19937 random(3);
  for (size_t length : {1u, 7u, 40u, 16u}) batch.add(random_sequence(random, length));
  EngineOptions plain = options();
  plain.device = "reference";
  for (const Pass& pass : all_passes()) {
    if (pass.name != "remove_padding") plain.disabled_passes.emplace_back(pass.name);
  }
  Session oracle(Engine::build(encoder(), plain), kLimits);
  Session fused(Engine::build(encoder(), options()), kLimits);
  oracle.run(batch.view());
  fused.run(batch.view());
  for (const char* output : {"last_hidden_state", "logits", "labels", "embedding"}) {
    EXPECT_LT(relative_error(values(fused.output(output)), values(oracle.output(output))), 2e-6) << output;
  }
}

TEST_P(EngineTest, SelectedRowsEqualTheFullOnes) {
  Packed batch;
  std::mt19937 random(4);
  for (size_t length : {5u, 40u, 3u}) batch.add(random_sequence(random, length));
  batch.rows = {0, 6, 6, 47};
  EngineOptions some = options();
  some.outputs = {"logits"};
  some.select_rows = {"logits"};
  Session all(Engine::build(encoder(), options()), kLimits);
  Session selected(Engine::build(encoder(), some), kLimits);
  all.run(batch.view());
  selected.run(batch.view());
  const TensorView full = all.output("logits");
  const TensorView rows = selected.output("logits");
  ASSERT_EQ(rows.shape, (Shape{4, kVocabulary}));
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    EXPECT_EQ(std::memcmp(rows.as<float>() + i * kVocabulary, full.as<float>() + batch.rows[i] * kVocabulary,
                          kVocabulary * sizeof(float)),
              0)
        << i;
  }
}

TEST_P(EngineTest, ASequenceDoesNotSeeItsNeighbours) {
  std::mt19937 random(5);
  Session session(Engine::build(encoder(), options()), kLimits);
  for (size_t length : {1u, 2u, 13u, 16u, 33u, 40u}) {
    const auto own = random_sequence(random, length);
    Packed alone;
    alone.add(own);
    session.run(alone.view());
    const auto expected = values(session.output("last_hidden_state"));
    const auto expected_embedding = values(session.output("embedding"));
    for (size_t place = 0; place < 3; ++place) {
      Packed among;
      size_t offset = 0;
      for (size_t s = 0; s < 3; ++s) {
        if (s == place) offset = among.ids.size();
        among.add(s == place ? own : random_sequence(random, 1 + random() % 40));
      }
      session.run(among.view());
      const float* hidden = session.output("last_hidden_state").as<float>() + offset * kHidden;
      EXPECT_EQ(std::memcmp(hidden, expected.data(), expected.size() * sizeof(float)), 0) << length << " at " << place;
      const float* embedding = session.output("embedding").as<float>() + place * kHidden;
      EXPECT_EQ(std::memcmp(embedding, expected_embedding.data(), kHidden * sizeof(float)), 0) << length << " at " << place;
    }
  }
}

TEST_P(EngineTest, RunAllocatesNothing) {
  std::mt19937 random(6);
  EngineOptions some = options();
  some.select_rows = {"logits"};
  Session session(Engine::build(encoder(), some), kLimits);
  std::vector<Packed> batches(40);
  for (Packed& batch : batches) {
    for (size_t s = 0; s < 3; ++s) batch.add(random_sequence(random, 1 + random() % 40));
    batch.rows = {0};
  }
  session.run(batches[0].view());
  const int64_t before = allocation_count();
  for (const Packed& batch : batches) session.run(batch.view());
  EXPECT_EQ(allocation_count() - before, 0);
}

TEST_P(EngineTest, EmptyBatchesAndSequences) {
  EngineOptions some = options();
  some.outputs = {"last_hidden_state", "embedding"};
  Session session(Engine::build(encoder(), some), kLimits);
  Packed none;
  session.run(none.view());
  EXPECT_EQ(session.output("last_hidden_state").shape, (Shape{0, kHidden}));
  Packed empty;
  empty.add({});
  empty.add({1, 2, 3});
  empty.add({});
  session.run(empty.view());
  EXPECT_EQ(session.output("embedding").shape, (Shape{3, kHidden}));
  for (int64_t i = 0; i < kHidden; ++i) EXPECT_EQ(session.output("embedding").as<float>()[i], 0.0f);
}

TEST_P(EngineTest, SessionsOnThreadsAgree) {
  const auto engine = Engine::build(encoder(), options());
  Packed batch;
  std::mt19937 random(8);
  for (size_t length : {9u, 30u}) batch.add(random_sequence(random, length));
  Session first(engine, kLimits);
  first.run(batch.view());
  const auto expected = values(first.output("logits"));
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      Session session(engine, kLimits);
      for (int i = 0; i < 10; ++i) {
        session.run(batch.view());
        if (values(session.output("logits")) != expected) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_P(EngineTest, ProfilesCountEveryProduct) {
  Session session(Engine::build(encoder(), options()), kLimits);
  session.set_profiling(true);
  Packed batch;
  std::mt19937 random(9);
  batch.add(random_sequence(random, 10));
  session.run(batch.view());
  double flops = 0;
  for (const StepTime& time : session.step_times()) flops += time.flops;
  const double layers = 2.0 * (2.0 * 10 * (4 * kHidden * kHidden + 2 * kHidden * kFeedForward) + 4.0 * 10 * 10 * kHidden);
  const double heads = 2.0 * 10 * (kHidden * kHidden + kVocabulary * kHidden) + 2.0 * (kHidden * kHidden + kLabels * kHidden);
  EXPECT_DOUBLE_EQ(flops, layers + heads);
}

// Threads of this process. One that was joined is listed for a moment more.
int64_t thread_count() {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
}

TEST_P(EngineTest, ThroughputModeGivesTheSameBits) {
  EngineOptions alone = options();
  alone.mode = Mode::throughput;
  const int64_t before = thread_count();
  const auto engine = Engine::build(encoder(), alone);
  EXPECT_EQ(engine->threads(), 2);
  EXPECT_EQ(thread_count(), before) << "the threads that packed the weights are gone";
  Packed batch;
  std::mt19937 random(12);
  for (size_t length : {1u, 7u, 40u}) batch.add(random_sequence(random, length));
  Session shared(Engine::build(encoder(), options()), kLimits);
  shared.run(batch.view());
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      Session session(engine, kLimits);
      for (int i = 0; i < 5; ++i) {
        session.run(batch.view());
        for (const char* output : {"last_hidden_state", "logits", "embedding"})
          wrong += values(session.output(output)) != values(shared.output(output));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

// However many sessions run at once, the engine has its workers and no more threads.
TEST_P(EngineTest, SessionsShareOnePool) {
  const int64_t before = thread_count();
  EngineOptions three = options();
  three.threads = 3;
  const auto engine = Engine::build(encoder(), three);
  EXPECT_EQ(thread_count(), before + 2);
  Packed batch;
  std::mt19937 random(13);
  batch.add(random_sequence(random, 30));
  constexpr int kCallers = 5;
  std::atomic<int> running{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&] {
      Session session(engine, kLimits);
      session.run(batch.view());
      ++running;
      while (!stop) session.run(batch.view());
    });
  }
  while (running < kCallers) std::this_thread::yield();
  EXPECT_EQ(thread_count(), before + 2 + kCallers);
  stop = true;
  for (std::thread& caller : callers) caller.join();
}

// In throughput mode each session's caller has a CPU of its own, given back with the session; otherwise all share the first.
TEST_P(EngineTest, PinnedCallers) {
  const size_t cpus = allowed_cpus().size();
  for (const Mode mode : {Mode::latency, Mode::throughput}) {
    EngineOptions pinned = options();
    pinned.pin = true;
    pinned.mode = mode;
    pinned.threads = static_cast<int>(cpus) + 1;  // no CPU twice before all are taken
    const auto engine = Engine::build(encoder(), pinned);
    std::vector<Engine::Impl::Place> places;
    std::set<int> taken;
    for (size_t i = 0; i < cpus; ++i) taken.insert(places.emplace_back(Engine::Impl::of_new_session(*engine)).cpu);
    EXPECT_EQ(taken.size(), mode == Mode::throughput ? cpus : 1);
    const int freed = places.back().cpu;
    places.pop_back();
    EXPECT_EQ(Engine::Impl::of_new_session(*engine).cpu, freed);
  }
  EXPECT_EQ(Engine::Impl::of_new_session(*Engine::build(encoder(), options())).cpu, -1);
}

// Pinned or not, the values are the same, and the caller has its own mask back.
TEST_P(EngineTest, PinnedThreads) {
  EngineOptions pinned = options();
  pinned.pin = true;
  pinned.threads = 3;
  Session session(Engine::build(encoder(), pinned), kLimits), free(Engine::build(encoder(), options()), kLimits);
  Packed batch;
  std::mt19937 random(10);
  for (size_t length : {1u, 30u}) batch.add(random_sequence(random, length));
  const std::vector<int> before = allowed_cpus();
  session.run(batch.view());
  EXPECT_EQ(allowed_cpus(), before);
  free.run(batch.view());
  for (const char* output : {"last_hidden_state", "logits"})
    EXPECT_EQ(values(session.output(output)), values(free.output(output)));
  Packed wrong;
  wrong.add({kVocabulary});
  EXPECT_THROW(session.run(wrong.view()), Error);
  EXPECT_EQ(allowed_cpus(), before);
}

INSTANTIATE_TEST_SUITE_P(Devices, EngineTest, testing::Values("reference", "cpu"), [](const auto& info) { return info.param; });

struct BatchCheckTest : testing::Test {
  Session session{Engine::build(encoder(), {.device = "reference"}), {.tokens = 20, .sequences = 2, .longest = 15, .rows = 3}};
  Packed packed;
};

TEST_F(BatchCheckTest, LimitsAreNamed) {
  packed.add(std::vector<int32_t>(21));
  EXPECT_THAT(message_of([&] { session.run(packed.view()); }), HasSubstr("21 tokens: this session's limit is 20"));
  packed = {};
  packed.add(std::vector<int32_t>(16));
  EXPECT_THAT(message_of([&] { session.run(packed.view()); }),
              HasSubstr("16 tokens in one sequence: this session's limit is 15"));
  packed = {};
  for (int i = 0; i < 3; ++i) packed.add({1});
  EXPECT_THAT(message_of([&] { session.run(packed.view()); }), HasSubstr("3 sequences"));
  packed = {};
  packed.add({1});
  packed.rows = {0, 0, 0, 0};
  EXPECT_THAT(message_of([&] { session.run(packed.view()); }), HasSubstr("4 head rows"));
}

TEST_F(BatchCheckTest, IdsOutOfRangeAreNamedWithTheirPlace) {
  for (int32_t id : {-1, 50, INT32_MAX, INT32_MIN}) {
    packed = {};
    packed.add({0, 49, id});
    EXPECT_THAT(message_of([&] { session.run(packed.view()); }), HasSubstr(fmt::format("token id {} at token 2", id)));
  }
  packed = {};
  packed.add({1, 2});
  packed.rows = {2};
  EXPECT_THAT(message_of([&] { session.run(packed.view()); }), HasSubstr("head row 2"));
  packed.rows = {};
  Batch batch = packed.view();
  const std::vector<int32_t> types = {0, 2}, few = {0};
  batch.type_ids = types;
  EXPECT_THAT(message_of([&] { session.run(batch); }), HasSubstr("type id 2 at token 1"));
  batch.type_ids = few;
  EXPECT_THAT(message_of([&] { session.run(batch); }), HasSubstr("1 type ids for 2 tokens"));
}

TEST_F(BatchCheckTest, LengthsMustAddUp) {
  packed.add({1, 2, 3});
  for (const std::vector<int32_t>& ends : {std::vector<int32_t>{}, {0}, {0, 2}, {0, 4}, {1, 3}, {0, 3, 2, 3}}) {
    Batch batch = packed.view();
    batch.cumulative_lengths = ends;
    EXPECT_THAT(message_of([&] { session.run(batch); }), HasSubstr("cumulative_lengths")) << ends.size();
  }
}

TEST(RelativeBiasTest, ColumnsStayWithinItsTable) {
  // P = 4: entries for distances of -3 to 3.
  Builder builder;
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  const ValueId mask = network.add_input("attention_mask", DType::i64, {"batch", "sequence"});
  const ValueId x = network.add_embedding(network.add_constant("words", builder.random({kVocabulary, kHidden}, 1)), ids);
  const ValueId bias = network.add_constant("bias", builder.random({kHeads, 7}, 1));
  network.add_output("y", network.add_attention(x, x, x, mask, bias, kHeads, 1.0));
  Session session(Engine::build(network, {.device = "reference"}), kLimits);
  Packed packed;
  packed.add({1, 2, 3, 4});
  packed.add({1, 2});
  EXPECT_NO_THROW(session.run(packed.view()));
  Batch batch = packed.view();
  const std::vector<int32_t> within = {5, 6, 7, 8, 0, 3}, outside = {0, 1, 2, 3, 0, 4};
  batch.columns = within;
  EXPECT_NO_THROW(session.run(batch));
  batch.columns = outside;
  EXPECT_THAT(message_of([&] { session.run(batch); }), HasSubstr("sequence 1 spans 5 columns"));
  packed.add({1, 2, 3, 4, 5});
  EXPECT_THAT(message_of([&] { session.run(packed.view()); }), HasSubstr("sequence 2 spans 5 columns"));
}

TEST(EngineBuildTest, NamesWhatThereIs) {
  EXPECT_THAT(message_of([] { Engine::build(encoder(), {.device = "tpu"}); }),
              HasSubstr("there are cpu, cuda, cuda:N, reference"));
  EXPECT_THAT(message_of([] { Engine::build(encoder(), {.precision = "fp8"}); }), HasSubstr("device cpu has fp32"));
  EXPECT_THAT(message_of([] { Engine::build(encoder(), {.layer_precision = {"*=fp16"}}); }),
              HasSubstr("layer precision '*=fp16': device cpu has fp32"));
  EXPECT_THAT(message_of([] { Engine::build(encoder(), {.layer_precision = {"*"}}); }), HasSubstr("it is PATTERN=P"));
  EXPECT_THAT(message_of([] { Engine::build(encoder(), {.outputs = {"hidden"}}); }),
              HasSubstr("the network has last_hidden_state"));
}

TEST(SessionTest, QueriesOnlyMustFitTheirSequences) {
  Session session(Engine::build(encoder(), {.device = "reference", .outputs = {"last_hidden_state"}}), kLimits);
  Packed packed;
  packed.add({5, 1, 6});
  packed.add({7});
  Batch batch = packed.view();
  const std::vector<int32_t> fits = {3, 1}, too_many = {0, 2}, negative = {-1, 0}, too_few = {0};
  batch.queries_only = fits;
  EXPECT_NO_THROW(session.run(batch));
  batch.queries_only = too_many;
  EXPECT_THAT(message_of([&] { session.run(batch); }), HasSubstr("2 tokens of sequence 1 are queries only: it has 1"));
  batch.queries_only = negative;
  EXPECT_THAT(message_of([&] { session.run(batch); }), HasSubstr("-1 tokens of sequence 0"));
  batch.queries_only = too_few;
  EXPECT_THAT(message_of([&] { session.run(batch); }), HasSubstr("1 counts of queries only for 2 sequences"));
}

TEST(EngineBuildTest, RobertaPositionsSkipPadding) {
  // Positions start at 2 and the padding token keeps position 1, as RoBERTa counts.
  const EngineOptions options{.device = "reference", .outputs = {"last_hidden_state"}};
  Network network = encoder();
  Session by_hand(Engine::build(network, options), kLimits);
  network.set_position_rule({.first = 2, .padding_id = 1});
  Session by_rule(Engine::build(network, options), kLimits);
  Packed packed;
  packed.add({5, 1, 6});
  packed.add({1, 7});
  by_rule.run(packed.view());
  Batch batch = packed.view();
  const std::vector<int32_t> positions = {2, 1, 3, 1, 2};
  batch.position_ids = positions;
  by_hand.run(batch);
  EXPECT_EQ(values(by_rule.output("last_hidden_state")), values(by_hand.output("last_hidden_state")));
}

}  // namespace
}  // namespace bertie
