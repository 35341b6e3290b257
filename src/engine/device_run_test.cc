// Runs on a device, without one: buckets and graphs, the arena, memory that does not grow, errors, replicas on several devices. The fake
// device computes with the reference kernels, so that results are compared bit by bit.
#include "engine/device_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include "backend/plugin_kernels.h"
#include "base/message_of_test.h"
#include "bertie/model.h"
#include "bertie/plugin.h"
#include "cpu/backend.h"
#include "engine/backends.h"
#include "engine/buckets.h"
#include "engine/counting_new_test.h"
#include "engine/fake_device_test.h"
#include "engine/packed_test.h"
#include "reference/backend.h"

namespace bertie {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const Model& model() {
  static const Model loaded = Model::load("tests/data/families/bert_masked");
  return loaded;
}

constexpr SessionLimits kLimits{.tokens = 200, .sequences = 20, .longest = 32, .rows = 20};

std::shared_ptr<const Engine> build(std::vector<std::string> devices, const std::string& precision = "fp32",
                                    const Network& network = model().network()) {
  EngineOptions options{.precision = precision, .threads = 1};
  if (&network == &model().network()) {
    options.outputs = {"last_hidden_state", "logits"};
    options.select_rows = {"logits"};
  }
  return Engine::Impl::build(network, options,
                             Target{{&fake_backend()}, std::move(devices), {Precision{"fp32"}, Precision{"fp16"}}});
}

std::shared_ptr<const Engine> build_reference() {
  EngineOptions options{.device = "reference", .threads = 1};
  options.outputs = {"last_hidden_state", "logits"};
  options.select_rows = {"logits"};
  return Engine::build(model().network(), options);
}

// Random ids in sequences of these lengths; the head's row is each one's first.
struct OwnBatch : Packed {
  OwnBatch(const std::vector<int>& lengths, std::mt19937& random) {
    for (int length : lengths) {
      if (length > 0) rows.push_back(starts.back());
      std::vector<int32_t> sequence(static_cast<size_t>(length));
      for (int32_t& id : sequence) id = static_cast<int32_t>(random() % 20);
      add(sequence);
    }
  }
};

std::vector<int> random_lengths(std::mt19937& random, const SessionLimits& limits = kLimits) {
  std::vector<int> lengths(1 + random() % static_cast<uint32_t>(limits.sequences));
  int left = static_cast<int>(limits.tokens);
  for (int& length : lengths) {
    length = std::min(left, static_cast<int>(random() % static_cast<uint32_t>(limits.longest + 1)));
    left -= length;
  }
  return lengths;
}

void expect_same(const Session& actual, const Session& expected) {
  for (const char* name : {"last_hidden_state", "logits"}) {
    const TensorView a = actual.output(name), b = expected.output(name);
    ASSERT_EQ(a.shape, b.shape) << name;
    ASSERT_EQ(std::memcmp(a.data, b.data, a.bytes()), 0) << name;
  }
}

class DeviceRunTest : public testing::Test {
 protected:
  void TearDown() override {
    for (int i = 0; i < 2; ++i) {
      fake_device(i)->lost = false;
      fake_device(i)->memory_bytes = size_t{64} << 20;
      EXPECT_EQ(fake_device(i)->fault, "") << i;
      EXPECT_EQ(fake_device(i)->held(), 0u) << i;
      EXPECT_EQ(fake_device(i)->graphs, 0) << i;
    }
  }
  FakeDevice& device = *fake_device(0);
};

TEST_F(DeviceRunTest, BatchesOfEveryCutEqualTheReference) {
  std::mt19937 random(1);
  Session session(build({"fake:0"}), kLimits), expected(build_reference(), kLimits);
  const std::vector<std::vector<int>> cuts = {
      {1}, {7}, {32}, {}, {0, 5, 0}, {15, 16, 17}, {1, 31, 32, 30}, {32, 32, 32, 32, 32, 32}};
  // As the first of its bucket, recorded, replayed, and replayed behind others that left their numbers in the arena.
  for (int round = 0; round < 4; ++round) {
    for (const auto& cut : cuts) {
      const OwnBatch batch(cut, random);
      session.run(batch.view());
      expected.run(batch.view());
      expect_same(session, expected);
    }
  }
}

TEST_F(DeviceRunTest, ABucketIsRecordedOnceAndServesEveryCut) {
  std::mt19937 random(2);
  Session session(build({"fake:0"}), kLimits);
  const int recorded = device.recorded, launched = device.launched;
  for (const auto& cut :
       std::vector<std::vector<int>>{{20, 20, 20}, {20, 20, 20}, {30, 29}, {10, 10, 10, 10, 10, 8}, {32, 20, 7}}) {
    ASSERT_EQ(row_bucket(60), row_bucket(58));
    session.run(OwnBatch(cut, random).view());
  }
  EXPECT_LE(device.recorded - recorded, 2) << "tiles and rows of these cuts are of two buckets at most";
  EXPECT_GE(device.launched - launched, 2);
}

TEST_F(DeviceRunTest, OneWaitARunAndOneCopyOfTheBatch) {
  std::mt19937 random(3);
  Session session(build({"fake:0"}), kLimits);
  const OwnBatch batch({5, 6}, random);
  for (int round = 0; round < 3; ++round) {
    const int copies = device.copies, waits = device.waits;
    session.run(batch.view());
    EXPECT_EQ(device.waits - waits, 1) << round;
    EXPECT_EQ(device.copies - copies, 1 + 2 + 1) << "the batch, two outputs and the counts, in round " << round;
  }
}

TEST_F(DeviceRunTest, TenThousandRandomBatchesHoldWhatTheFirstHeld) {
  std::mt19937 random(4);
  constexpr SessionLimits kSmall{.tokens = 48, .sequences = 10, .longest = 12, .rows = 10};
  Session session(build({"fake:0"}), kSmall), expected(build_reference(), kSmall);
  const int allocations = device.allocations();
  const size_t held = device.held(), bytes = session.workspace_bytes();
  for (int i = 0; i < 10000; ++i) {
    const OwnBatch batch(random_lengths(random, kSmall), random);
    session.run(batch.view());
    ASSERT_LE(device.graphs, static_cast<int>(DeviceRun::kMostGraphs));
    if (i % 100 != 0) continue;
    expected.run(batch.view());
    expect_same(session, expected);
  }
  EXPECT_EQ(device.allocations(), allocations);
  EXPECT_EQ(device.held(), held);
  EXPECT_EQ(session.workspace_bytes(), bytes);
}

TEST_F(DeviceRunTest, GraphsUnusedForLongMakeRoom) {
  std::mt19937 random(5);
  Session session(build({"fake:0"}), kLimits);
  const OwnBatch kept({20}, random);
  for (int length = 1; length <= 16; ++length) {
    for (size_t rows = 1; rows <= 16; ++rows) {
      OwnBatch batch({length}, random);
      batch.rows.assign(rows, 0);
      session.run(batch.view());
      session.run(batch.view());
      session.run(kept.view());
    }
  }
  EXPECT_GT(device.recorded, 256) << "more buckets than graphs are kept";
  const int recorded = device.recorded;
  session.run(kept.view());
  EXPECT_EQ(device.recorded, recorded) << "what is used all the time is kept";
  EXPECT_LE(device.graphs, static_cast<int>(DeviceRun::kMostGraphs));
}

TEST_F(DeviceRunTest, AReplayAllocatesNoHostMemory) {
  std::mt19937 random(6);
  Session session(build({"fake:0"}), kLimits);
  const OwnBatch batch({}, random);  // the fake's own kernels allocate: without tokens none computes
  for (int round = 0; round < 3; ++round) session.run(batch.view());
  const int64_t once = allocation_count();
  session.run(batch.view());
  const int64_t a_run = allocation_count() - once;
  const int64_t before = allocation_count();
  for (int i = 0; i < 100; ++i) session.run(batch.view());
  EXPECT_EQ(allocation_count() - before, 100 * a_run);
}

TEST_F(DeviceRunTest, ASessionTooLargeNamesWhatWasWantedAndWhatThereIs) {
  const auto engine = build({"fake:0"});
  const size_t held = device.held();
  device.memory_bytes = held + 1000;
  const std::string message = message_of([&] { Session(engine, kLimits); });
  EXPECT_THAT(message, AllOf(HasSubstr("device fake:0: a session of these limits needs "), HasSubstr(" are free")));
  EXPECT_EQ(device.held(), held) << "nothing is left of what it took";
  device.memory_bytes = size_t{64} << 20;
  std::mt19937 random(7);
  Session session(engine, kLimits);
  session.run(OwnBatch({3}, random).view());
}

TEST_F(DeviceRunTest, ALostDeviceIsOneErrorEveryTime) {
  std::mt19937 random(8);
  Session session(build({"fake:0"}), kLimits);
  const OwnBatch batch({4, 5}, random);
  for (int round = 0; round < 3; ++round) session.run(batch.view());
  device.lost = true;
  for (int round = 0; round < 2; ++round)
    EXPECT_EQ(message_of([&] { session.run(batch.view()); }), "device fake:0: launching a graph: it is lost");
  EXPECT_THAT(message_of([&] { session.run(OwnBatch({9}, random).view()); }), HasSubstr("device fake:0: a copy: it is lost"));
  EXPECT_THAT(message_of([&] { Session(build({"fake:1"}), kLimits).run(batch.view()); }), "") << "another device goes on";
}

TEST_F(DeviceRunTest, NeighboursDoNotMatter) {
  std::mt19937 random(9);
  Session session(build({"fake:0"}), kLimits);
  const std::vector<int> lengths = {5, 31, 1, 16, 30, 12};
  const OwnBatch together(lengths, random);
  session.run(together.view());
  const TensorView all = session.output("last_hidden_state");
  const int64_t width = all.shape.back();
  const std::vector<float> values(all.as<float>(), all.as<float>() + all.shape.elements());
  for (size_t b = 0; b < lengths.size(); ++b) {
    OwnBatch alone({}, random);
    alone.ids.assign(together.ids.begin() + together.starts[b], together.ids.begin() + together.starts[b + 1]);
    alone.starts.push_back(lengths[b]);
    session.run(alone.view());
    EXPECT_EQ(std::memcmp(session.output("last_hidden_state").data, values.data() + together.starts[b] * width,
                          alone.ids.size() * static_cast<size_t>(width) * sizeof(float)),
              0)
        << b;
  }
}

TEST_F(DeviceRunTest, OverflowIn16BitsNamesTheFirstStep) {
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i32, {"batch", "sequence"});
  const std::vector<float> table(20 * 64, 300.0f), weight(64 * 64, 300.0f);
  const ValueId embedded =
      network.add_embedding(network.add_constant("table", Tensor::from_floats({20, 64}, table)), ids, "words");
  const ValueId huge =
      network.add_linear(embedded, network.add_constant("weight", Tensor::from_floats({64, 64}, weight)), kNone, "planted");
  network.add_output("y",
                     network.add_linear(huge, network.add_constant("w", Tensor::from_floats({64, 64}, weight)), kNone, "next"));
  std::mt19937 random(10);
  Session session(build({"fake:0"}, "fp16", network), kLimits);
  for (int round = 0; round < 3; ++round)
    EXPECT_THAT(message_of([&] { session.run(OwnBatch({3}, random).view()); }),
                HasSubstr("linear 'planted': a result is too large"));
}

TEST_F(DeviceRunTest, ProfilesNameEveryStepAndOrdinaryRunsNone) {
  std::mt19937 random(11);
  const auto engine = build({"fake:0"});
  Session session(engine, kLimits);
  const OwnBatch batch({4, 5}, random);
  device.ranges.clear();
  for (int round = 0; round < 3; ++round) session.run(batch.view());
  EXPECT_TRUE(device.ranges.empty());
  session.set_profiling(true);
  session.run(batch.view());
  ASSERT_EQ(device.ranges.size(), engine->steps().size());
  for (size_t i = 0; i < device.ranges.size(); ++i) {
    EXPECT_EQ(device.ranges[i], engine->steps()[i].name);
    EXPECT_GE(session.step_times()[i].milliseconds, 1) << "a step puts one piece of work";
  }
}

TEST_F(DeviceRunTest, DeviceTimesAreOfTheStepsAlone) {
  std::mt19937 random(12);
  Session session(build({"fake:0"}), kLimits), expected(build_reference(), kLimits);
  const OwnBatch batch({4, 5}, random);
  EXPECT_TRUE(session.device_times(batch.view(), 0).empty());
  const int copies = device.copies;
  const std::vector<double> times = session.device_times(batch.view(), 37);
  EXPECT_EQ(times.size(), 37u);
  EXPECT_EQ(device.copies - copies, 1) << "the batch, once";
  session.run(batch.view());
  expected.run(batch.view());
  expect_same(session, expected);
  EXPECT_TRUE(expected.device_times(batch.view(), 3).empty()) << "there is no device";
}

TEST_F(DeviceRunTest, SessionsSpreadOverReplicas) {
  const auto engine = build({"fake:0", "fake:1"});
  FakeDevice& other = *fake_device(1);
  const size_t weights = device.held();
  EXPECT_GT(weights, 0u);
  EXPECT_EQ(other.held(), weights) << "weights once on each";
  std::mt19937 random(13);
  const OwnBatch batch({8, 9}, random);
  Session expected(build_reference(), kLimits);
  expected.run(batch.view());
  const size_t before = device.held();
  std::vector<Session> sessions;
  for (int i = 0; i < 4; ++i) {
    sessions.emplace_back(engine, kLimits);
    sessions.back().run(batch.view());
    expect_same(sessions.back(), expected);
  }
  EXPECT_EQ(device.held(), other.held());
  sessions.erase(sessions.begin());  // the first device's
  const size_t two = other.held(), one = device.held();
  EXPECT_EQ(one - before, (two - before) / 2);
  sessions.emplace_back(engine, kLimits);
  EXPECT_EQ(device.held(), two) << "the place that came free is taken";
}

TEST_F(DeviceRunTest, ReplicasServeThreads) {
  const auto engine = build({"fake:0", "fake:1", "fake:0"});
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      Session session(engine, kLimits), expected(build_reference(), kLimits);
      for (int i = 0; i < 30; ++i) {
        const OwnBatch batch(random_lengths(random), random);
        session.run(batch.view());
        expected.run(batch.view());
        const TensorView a = session.output("logits"), b = expected.output("logits");
        if (a.shape != b.shape || std::memcmp(a.data, b.data, a.bytes()) != 0) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// One linear layer over embeddings.
Network small_network() {
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i32, {"batch", "sequence"});
  std::vector<float> table(20 * 8), weight(8 * 8);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 7);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(i % 5);
  const ValueId x = network.add_embedding(network.add_constant("table", Tensor::from_floats({20, 8}, table)), ids, "words");
  network.add_output("y", network.add_linear(x, network.add_constant("w", Tensor::from_floats({8, 8}, weight)), kNone, "linear"));
  return network;
}

TEST_F(DeviceRunTest, KernelsAreChosenByTimeForEachCountOfTokens) {
  device.memory_bytes = size_t{1} << 30;
  const Network network = small_network();
  EngineOptions options{.threads = 1};
  options.timings = std::make_shared<KernelTimings>();
  options.tune = true;
  const auto tuned = [&] {
    return Engine::Impl::build(network, options, Target{{&fake_backend()}, {"fake:0"}, {Precision{"fp32"}}});
  };
  const auto engine = tuned();
  EXPECT_EQ(options.timings->size(), 1u);
  const StepInfo& linear = engine->steps()[1];
  EXPECT_EQ(linear.kernel, "fake or fake_wide_linear");
  EXPECT_THAT(linear.reason, AllOf(HasSubstr("16 tokens fake 2.0000 ms of the rule's 2.0000"),
                                   HasSubstr("8192 tokens fake_wide_linear 1.0000 ms of the rule's 2.0000")));
  const SessionLimits limits{.tokens = 2000, .sequences = 8, .longest = 1000};
  Session session(engine, limits), expected(Engine::build(network, {.device = "reference", .threads = 1}), limits);
  session.set_profiling(true);
  std::mt19937 random(14);
  for (const auto& [length, pieces] : std::vector<std::pair<int, double>>{{16, 2}, {100, 2}, {250, 2}, {270, 1}, {1000, 1}}) {
    const OwnBatch batch({length}, random);
    session.run(batch.view());
    expected.run(batch.view());
    const TensorView a = session.output("y"), b = expected.output("y");
    EXPECT_EQ(std::memcmp(a.data, b.data, b.bytes()), 0) << length;
    EXPECT_EQ(session.step_times()[1].milliseconds, pieces) << length;
  }
  device.memory_bytes = size_t{1} << 20;  // no room to time anything: the times of before are used
  options.tune = false;
  EXPECT_EQ(tuned()->steps()[1].kernel, linear.kernel);
  options.timings = std::make_shared<KernelTimings>();
  options.tune = true;
  EXPECT_EQ(tuned()->steps()[1].kernel, "fake") << "what cannot be timed goes by rule";
}

// Steps that the device has no kernel for run on the CPU between the others, and say so.
TEST_F(DeviceRunTest, WhatTheDeviceLacksRunsBesideIt) {
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i32, {"batch", "sequence"});
  std::vector<float> table(20 * 8), weight(8 * 8);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 7);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(i % 5) - 2;
  const ValueId w = network.add_constant("w", Tensor::from_floats({8, 8}, weight));
  ValueId x = network.add_embedding(network.add_constant("table", Tensor::from_floats({20, 8}, table)), ids, "words");
  x = network.add_unary("abs", network.add_linear(x, w, kNone, "first"), "abs");
  x = network.add_linear(x, w, kNone, "second");
  network.add_output("y", x);
  network.add_output("z", network.add_unary("neg", x, "neg"));
  for (const char* precision : {"fp32", "fp16"}) {
    const auto engine = Engine::Impl::build(
        network, {.precision = precision, .threads = 1},
        Target{
            {&fake_backend_of_few(), &cpu_backend(), &reference_backend()}, {"fake:0"}, {Precision{"fp32"}, Precision{"fp16"}}});
    EXPECT_FALSE(engine->execution().planned);
    EXPECT_THAT(engine->execution().reason, HasSubstr("the device has no kernel for unary 'abs', unary 'neg'"));
    std::vector<std::string> devices;
    for (size_t i = 0; i < 5; ++i) devices.push_back(engine->steps()[i].device + " " + engine->steps()[i].precision);
    const std::string fake = std::string("fake ") + precision;
    EXPECT_THAT(devices, testing::ElementsAre(fake, fake, "cpu fp32", fake, "cpu fp32"));
    Session session(engine, kLimits), expected(Engine::build(network, {.device = "reference", .threads = 1}), kLimits);
    session.set_profiling(true);
    std::mt19937 random(15);
    size_t held = 0;
    for (int round = 0; round < 20; ++round) {
      const OwnBatch batch({7, 3, 0, 12}, random);
      session.run(batch.view());
      expected.run(batch.view());
      for (const char* name : {"y", "z"}) {
        const TensorView a = session.output(name), b = expected.output(name);
        ASSERT_EQ(std::memcmp(a.data, b.data, b.bytes()), 0) << name << " in " << precision;  // whole numbers: no rounding
      }
      EXPECT_EQ(session.step_times()[1].milliseconds, 2) << "a linear step puts two pieces of work";
      if (round == 0) held = device.held();
      EXPECT_EQ(device.held(), held);
    }
  }
}

TEST_F(DeviceRunTest, OverflowBesideTheCpuNamesTheFirstStep) {
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i32, {"batch", "sequence"});
  const std::vector<float> table(20 * 64, 300.0f), weight(64 * 64, 300.0f);
  const ValueId w = network.add_constant("weight", Tensor::from_floats({64, 64}, weight));
  ValueId x = network.add_embedding(network.add_constant("table", Tensor::from_floats({20, 64}, table)), ids, "words");
  network.add_output("y", network.add_unary("abs", network.add_linear(x, w, kNone, "planted"), "abs"));
  const auto engine = Engine::Impl::build(
      network, {.precision = "fp16", .threads = 1},
      Target{{&fake_backend_of_few(), &cpu_backend(), &reference_backend()}, {"fake:0"}, {Precision{"fp32"}, Precision{"fp16"}}});
  std::mt19937 random(10);
  Session session(engine, kLimits);
  for (int round = 0; round < 2; ++round)
    EXPECT_THAT(message_of([&] { session.run(OwnBatch({3}, random).view()); }),
                HasSubstr("linear 'planted': a result is too large"));
}

// y = x * factors by a kernel that a plugin has for GPUs alone: its stream's work reads the factors in the device's memory.
struct TimesKernel : plugin::Kernel {
  void run(const plugin::Run& run) const override {
    const int64_t rows = run.input_shape(0)[0], width = run.input_shape(0)[1];
    if (run.input_dtype(0) != DType::f32 || run.abi().parallel_for) throw std::logic_error("not what was promised");
    enqueue(*static_cast<Stream*>(run.stream()),
            [x = run.input<float>(0), factors = run.input<float>(1), y = run.output<float>(0), rows, width] {
              for (int64_t i = 0; i < rows * width; ++i) y[i] = x[i] * factors[i % width];
            });
  }
};
struct Times : plugin::Op {
  Times() : Op("test.device::Times", 1) {
    add_input("x");
    add_input("factors");
    add_kernel("cuda", "times", [](const plugin::NodeView&, const plugin::Device& device) -> std::unique_ptr<plugin::Kernel> {
      if (device.index != 1) throw std::logic_error("another device");
      return std::make_unique<TimesKernel>();
    });
  }
  void infer(const plugin::ShapeRule& rule) const override { rule.output(DType::f32, rule.shape(0)); }
  bool row_wise(const plugin::NodeView&) const override { return true; }
};

TEST_F(DeviceRunTest, PluginsKernelsRunOnTheDevice) {
  plugin::register_ops<Times>("device_times", "1.0");
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i32, {"batch", "sequence"});
  std::vector<float> table(20 * 8), weight(8 * 8), factors(8);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 7);
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(i % 5) - 2;
  for (size_t i = 0; i < factors.size(); ++i) factors[i] = static_cast<float>(i + 1);
  ValueId x = network.add_embedding(network.add_constant("table", Tensor::from_floats({20, 8}, table)), ids, "words");
  x = network.add_linear(x, network.add_constant("w", Tensor::from_floats({8, 8}, weight)), kNone, "linear");
  network.add_output("x", x);
  network.add_output("y", network.add_node("test.device::Times",
                                           {x, network.add_constant("factors", Tensor::from_floats({8}, factors))}, {})[0]);
  for (const char* precision : {"fp32", "fp16"}) {
    const auto engine = Engine::Impl::build(
        network, {.precision = precision, .threads = 1},
        Target{
            {&fake_backend(), &plugin_cuda_backend(), &reference_backend()}, {"fake:1"}, {Precision{"fp32"}, Precision{"fp16"}}});
    EXPECT_TRUE(engine->execution().planned) << engine->execution().reason;
    const auto step = std::find_if(engine->steps().begin(), engine->steps().end(),
                                   [](const StepInfo& info) { return info.op == "test.device::Times"; });
    EXPECT_EQ(step->kernel, "plugin device_times v1.0");
    EXPECT_EQ(step->device, "cuda");
    Session session(engine, kLimits);
    std::mt19937 random(16);
    for (int round = 0; round < 4; ++round) {
      session.run(OwnBatch({7, 0, 12}, random).view());
      const TensorView a = session.output("x"), b = session.output("y");
      for (int64_t i = 0; i < a.shape.elements(); ++i)
        ASSERT_EQ(b.as<float>()[i], a.as<float>()[i] * factors[static_cast<size_t>(i % 8)]) << precision;
    }
  }
}

TEST_F(DeviceRunTest, LinearLayersAndLayerNormsInOneStepAnswerAsApart) {
  const auto build_with = [](std::vector<std::string> disabled) {
    EngineOptions options{.precision = "fp16", .threads = 1, .disabled_passes = std::move(disabled)};
    options.outputs = {"last_hidden_state", "logits"};
    options.select_rows = {"logits"};
    return Engine::Impl::build(model().network(), options,
                               Target{{&fake_backend_that_fuses()}, {"fake:0"}, {Precision{"fp32"}, Precision{"fp16"}}});
  };
  const auto together = build_with({}), apart = build_with({"fuse_linear_layer_norm"});
  const auto fused = [](const Engine& engine) {
    return std::count_if(engine.steps().begin(), engine.steps().end(),
                         [](const StepInfo& step) { return step.op == "linear_skip_layer_norm"; });
  };
  EXPECT_GT(fused(*together), 0);
  EXPECT_EQ(fused(*apart), 0);
  Session session(together, kLimits), expected(apart, kLimits);
  std::mt19937 random(17);
  // Recorded and replayed too.
  for (int round = 0; round < 4; ++round) {
    for (const auto& cut : std::vector<std::vector<int>>{{1}, {}, {0, 5, 0}, {15, 16, 17}, {32, 32, 32, 32, 32, 32}}) {
      const OwnBatch batch(cut, random);
      session.run(batch.view());
      expected.run(batch.view());
      for (const char* name : {"last_hidden_state", "logits"}) {
        const TensorView a = session.output(name), b = expected.output(name);
        ASSERT_EQ(a.shape, b.shape) << name;
        // Apart the product is rounded to 16 bits before the residual is added.
        for (int64_t i = 0; i < a.shape.elements(); ++i)
          ASSERT_NEAR(a.as<float>()[i], b.as<float>()[i], 0x1p-7 * (1 + std::abs(b.as<float>()[i]))) << name << " " << i;
      }
    }
  }
}

TEST(Targets, HaveNoFusedLayerNormWhereNoKernelIsForIt) {
  for (const char* name : {"cpu", "reference"}) EXPECT_FALSE(target_of(name).fuses_linear_layer_norm()) << name;
}

TEST(Targets, NameWhatThereIs) {
  EXPECT_EQ(target_of("cuda:0,cuda:3,cuda").devices, (std::vector<std::string>{"cuda:0", "cuda:3", "cuda"}));
  for (const char* wrong : {"", "gpu", "cuda:", "cuda:x", "cuda:0,", ",cuda", "cuda:0,cpu", "cpu,cpu"})
    EXPECT_THAT(message_of([&] { target_of(wrong); }), HasSubstr("there are cpu, cuda, cuda:N, reference")) << wrong;
}

}  // namespace
}  // namespace bertie
