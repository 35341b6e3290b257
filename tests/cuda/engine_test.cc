// Whole networks on a GPU: agreement with fp32 on the CPU, batches of every cut, memory that does not grow, threads, overflow.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "bertie/engine.h"
#include "bertie/model.h"
#include "bertie/tasks.h"
#include "cuda/cuda_device.h"
#include "engine/packed_test.h"
#include "tests/cuda/gpu.h"

namespace bertie::test {
namespace {

constexpr const char* kBundled = "models/minilm-l6-mlm";

struct Bound {
  const char* precision;
  double whole;  // relative Frobenius error of the last hidden state against fp32
};
constexpr Bound kBounds[] = {{"fp32", 1e-5}, {"tf32", 3e-3}, {"fp16", 3e-3}, {"bf16", 2e-2}};

// Random ids, in sequences of these lengths.
struct OwnBatch : Packed {
  OwnBatch(const std::vector<int>& lengths, uint32_t seed, int vocabulary = 30000) {
    std::mt19937 random(seed);
    for (int length : lengths) {
      std::vector<int32_t> sequence(static_cast<size_t>(length));
      for (int32_t& id : sequence) id = static_cast<int32_t>(random() % static_cast<uint32_t>(vocabulary));
      add(sequence);
    }
  }
};

std::shared_ptr<const Engine> build(const Model& model, const std::string& device, const std::string& precision,
                                    std::vector<std::string> outputs = {"last_hidden_state"}) {
  EngineOptions options;
  options.device = device;
  options.precision = precision;
  options.outputs = std::move(outputs);
  return Engine::build(model.network(), options);
}

double relative_error(std::span<const float> actual, std::span<const float> expected) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(error / norm);
}

std::span<const float> floats(const TensorView& view) { return {view.as<float>(), static_cast<size_t>(view.shape.elements())}; }

std::vector<int> random_lengths(std::mt19937& random, int most_tokens, int longest) {
  std::vector<int> lengths;
  int left = 1 + static_cast<int>(random() % static_cast<uint32_t>(most_tokens));
  while (left > 0) {
    const int length = std::min(left, 1 + static_cast<int>(random() % static_cast<uint32_t>(longest)));
    lengths.push_back(length);
    left -= length;
  }
  return lengths;
}

class CudaEngine : public GpuTest {
 protected:
  // Batches of several cuts, each three times: as the first of its bucket, recorded, and replayed.
  void check_parity(const Model& model) {
    const std::vector<std::vector<int>> cuts = {
        {1}, {7}, {128}, {1, 2, 3, 0, 150, 64}, {384, 1, 129, 128}, {33, 31, 32, 65, 63, 17}};
    Session expected(build(model, "cpu", "fp32"), {2048, 64, 512, 0});
    for (const Bound& bound : kBounds) {
      Session session(build(model, "cuda", bound.precision), {2048, 64, 512, 0});
      double worst = 0;
      for (int round = 0; round < 3; ++round) {
        for (size_t i = 0; i < cuts.size(); ++i) {
          const OwnBatch batch(cuts[i], static_cast<uint32_t>(i + 10 * round));
          expected.run(batch.view());
          session.run(batch.view());
          worst = std::max(
              worst, relative_error(floats(session.output("last_hidden_state")), floats(expected.output("last_hidden_state"))));
        }
      }
      fmt::print("{} {}: {:.2e}\n", model.info().source, bound.precision, worst);
      EXPECT_LE(worst, bound.whole) << model.info().source << " in " << bound.precision;
    }
  }
};

TEST_F(CudaEngine, BundledModelAgreesWithFp32) { check_parity(Model::load(kBundled)); }
TEST_F(CudaEngine, BertBaseAgreesWithFp32) { check_parity(Model::random("base")); }
TEST_F(CudaEngine, OddWidthsAgreeWithFp32) { check_parity(Model::random("2,120,3,200")); }

TEST_F(CudaEngine, HeadRowsAloneAgreeWithFp32) {
  const Model model = Model::load(kBundled);
  EngineOptions options;
  options.outputs = options.select_rows = {"logits"};
  Session expected(Engine::build(model.network(), options), {1024, 64, 512, 64});
  options.device = "cuda";
  for (const Bound& bound : kBounds) {
    options.precision = bound.precision;
    Session session(Engine::build(model.network(), options), {1024, 64, 512, 64});
    for (uint32_t round = 0; round < 4; ++round) {
      OwnBatch batch({9, 130, 64, 1}, round / 2);
      batch.rows = {0, 3, 8, 9, 100, 100, 202, 203};
      expected.run(batch.view());
      session.run(batch.view());
      ASSERT_EQ(session.output("logits").shape, (Shape{8, 30522}));
      EXPECT_LE(relative_error(floats(session.output("logits")), floats(expected.output("logits"))), bound.whole)
          << bound.precision;
    }
  }
}

TEST_F(CudaEngine, FillMaskAnswersAsTheCpu) {
  const Model model = Model::load(kBundled);
  FillMaskOptions options;
  const auto best = [&](const std::string& device, const std::string& precision) {
    options.device = device;
    options.precision = precision;
    const std::vector<std::string> texts = {"The capital of France is [MASK]."};
    return FillMask(model, options).run(texts).at(0).value().masks.at(0).candidates.at(0).token;
  };
  const std::string expected = best("cpu", "fp32");
  for (const Bound& bound : kBounds) EXPECT_EQ(best("cuda", bound.precision), expected) << bound.precision;
}

// A sequence's result within the precision's bound, whatever its neighbours.
TEST_F(CudaEngine, NeighboursMatterLittle) {
  const Model model = Model::load(kBundled);
  for (const Bound& bound : kBounds) {
    Session session(build(model, "cuda", bound.precision), {2048, 64, 512, 0});
    const std::vector<int> lengths = {5, 150, 1, 16, 300, 12};
    const OwnBatch together(lengths, 3);
    session.run(together.view());
    const auto all = floats(session.output("last_hidden_state"));
    const std::vector<float> values(all.begin(), all.end());
    const size_t width = values.size() / together.ids.size();
    for (size_t b = 0; b < lengths.size(); ++b) {
      OwnBatch alone({}, 0);
      const auto begin = static_cast<size_t>(together.starts[b]), count = static_cast<size_t>(lengths[b]);
      alone.ids.assign(together.ids.begin() + together.starts[b], together.ids.begin() + together.starts[b + 1]);
      alone.starts.push_back(lengths[b]);
      session.run(alone.view());
      EXPECT_LE(
          relative_error(floats(session.output("last_hidden_state")), std::span(values).subspan(begin * width, count * width)),
          bound.whole)
          << bound.precision << ", sequence " << b;
    }
  }
}

size_t free_bytes(Device& device) {
  const auto& own = static_cast<cuda::CudaDevice&>(device);
  size_t free = 0, total = 0;
  own.check(own.api().memory(own.index(), &free, &total), "its memory");
  return free;
}

int64_t resident_kilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
  }
  return 0;
}

TEST_F(CudaEngine, TenThousandRunsOfRandomLengthsKeepTheirMemory) {
  const Model model = Model::load(kBundled);
  Session session(build(model, "cuda", "fp16"), {1024, 128, 256, 0});
  std::mt19937 random(5);
  const size_t bytes = session.workspace_bytes();
  const auto runs = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const OwnBatch batch(random_lengths(random, 1024, 256), static_cast<uint32_t>(i));
      session.run(batch.view());
      for (const float value : floats(session.output("last_hidden_state")).first(384)) ASSERT_TRUE(std::isfinite(value));
    }
  };
  runs(3000);
  const int64_t before = resident_kilobytes();
  const size_t free = free_bytes(*device);
  runs(7000);
  EXPECT_EQ(session.workspace_bytes(), bytes);
  // Graphs are made and let go: what the driver keeps for them may still move a little.
  EXPECT_GE(free_bytes(*device) + (size_t{64} << 20), free);
  EXPECT_LE(resident_kilobytes(), before + 64 * 1024);
}

TEST_F(CudaEngine, SessionsOfSeveralThreadsShareAnEngine) {
  const Model model = Model::load(kBundled);
  const auto engine = build(model, "cuda", "fp32");
  const OwnBatch batch({40, 3, 77}, 1);
  Session one(engine, {512, 16, 256, 0});
  one.run(batch.view());
  const auto values = floats(one.output("last_hidden_state"));
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Session session(engine, {512, 16, 256, 0});
      std::mt19937 random(static_cast<uint32_t>(t));
      for (int i = 0; i < 100; ++i) {
        const OwnBatch other(random_lengths(random, 512, 256), static_cast<uint32_t>(i));
        session.run(other.view());
        session.run(batch.view());
        if (relative_error(floats(session.output("last_hidden_state")), values) > 1e-6) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(CudaEngine, ReplicasAgreeAndOneDeviceHoldsWeightsOnce) {
  const Model model = Model::random("4,1024,16,4096");
  const auto held_by = [&](const std::string& devices, std::shared_ptr<const Engine>& engine) {
    const size_t free = free_bytes(*device);
    engine = build(model, devices, "fp16");
    return free - free_bytes(*device);
  };
  std::shared_ptr<const Engine> one, engine;
  held_by("cuda:0", one);  // also what the driver takes once
  one.reset();
  const size_t held = held_by("cuda:0", one);
  one.reset();
  EXPECT_LE(held_by("cuda:0,cuda:0", engine), held + (size_t{8} << 20)) << "weights of one device are shared";
  one = build(model, "cuda:0", "fp16");
  const OwnBatch batch({40, 3, 77}, 1);
  Session alone(one, {512, 16, 256, 0}), first(engine, {512, 16, 256, 0}), second(engine, {512, 16, 256, 0});
  alone.run(batch.view());
  for (Session* session : {&first, &second}) {
    session->run(batch.view());
    EXPECT_EQ(relative_error(floats(session->output("last_hidden_state")), floats(alone.output("last_hidden_state"))), 0);
  }
}

TEST_F(CudaEngine, DeviceTimesLeaveTheSessionUsable) {
  const Model model = Model::load(kBundled);
  Session session(build(model, "cuda", "fp16"), {512, 16, 256, 0});
  const OwnBatch batch({100, 100}, 1);
  session.run(batch.view());
  const auto before = floats(session.output("last_hidden_state"));
  const std::vector<float> values(before.begin(), before.end());
  const std::vector<double> times = session.device_times(batch.view(), 40);
  ASSERT_EQ(times.size(), 40u);
  for (const double time : times) EXPECT_GT(time, 0);
  session.run(batch.view());
  EXPECT_EQ(relative_error(floats(session.output("last_hidden_state")), values), 0);
}

double milliseconds_of(const std::function<void()>& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// Printed, not judged: another process may have the GPU.
TEST_F(CudaEngine, TimesFromTextToAnswerAndOfBuilding) {
  const Model bundled = Model::load(kBundled);
  FillMaskOptions options;
  options.device = "cuda";
  options.precision = "fp16";
  FillMask task(bundled, options);
  const std::vector<std::string> texts = {"The capital of France is [MASK]."};
  std::vector<double> times;
  for (int i = 0; i < 500; ++i) times.push_back(milliseconds_of([&] { EXPECT_TRUE(task.run(texts).at(0).ok()); }));
  std::sort(times.begin() + 20, times.end());
  fmt::print("figure: fill-mask on the bundled model in fp16, from text to answer: p50 {:.3f} ms, p99 {:.3f} ms\n",
             times[20 + 240], times[20 + 475]);
  const TaskTimes& sums = task.times();
  const auto share = [&](double sum) { return sum / static_cast<double>(sums.items); };
  fmt::print("figure: of these, in the mean: tokenizer {:.3f}, run {:.3f}, reading {:.3f} ms\n", share(sums.tokenize_ms),
             share(sums.run_ms), share(sums.read_ms));
  const Model base = Model::random("base");
  std::shared_ptr<const Engine> engine;
  for (const char* precision : {"fp32", "fp16"}) {
    const double time = milliseconds_of([&] { engine = build(base, "cuda", precision); });
    fmt::print("figure: building BERT-base in {}: {:.2f} s\n", precision, time / 1e3);
  }
}

TEST_F(CudaEngine, OverflowInFp16NamesTheStep) {
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i32, {"batch", "sequence"});
  const std::vector<float> table(4 * 64, 300.0f), weight(64 * 64, 300.0f);
  const ValueId embedded =
      network.add_embedding(network.add_constant("table", Tensor::from_floats({4, 64}, table)), ids, "words");
  const ValueId huge =
      network.add_linear(embedded, network.add_constant("weight", Tensor::from_floats({64, 64}, weight)), kNone, "planted");
  network.add_output("y", network.add_unary("tanh", huge, "hidden_again"));
  EngineOptions options;
  options.device = "cuda";
  const OwnBatch batch({3}, 1, 4);
  options.precision = "fp16";
  Session session(Engine::build(network, options), {16, 4, 16, 0});
  for (int round = 0; round < 3; ++round) {
    try {
      session.run(batch.view());
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("'planted'"), std::string::npos) << error.what();
    }
  }
  for (const char* precision : {"fp32", "bf16"}) {
    options.precision = precision;
    Session fine(Engine::build(network, options), {16, 4, 16, 0});
    fine.run(batch.view());
    for (const float value : floats(fine.output("y"))) EXPECT_EQ(value, 1.0f);
  }
  options.precision = "fp16";
  options.layer_precision = {"pl*=fp32"};
  const auto mixed = Engine::build(network, options);
  for (const StepInfo& step : mixed->steps()) EXPECT_EQ(step.precision, step.name == "planted" ? "fp32" : "fp16") << step.name;
  Session fine(mixed, {16, 4, 16, 0});
  fine.run(batch.view());
  for (const float value : floats(fine.output("y"))) EXPECT_EQ(value, 1.0f);
}

TEST_F(CudaEngine, TooLargeASessionNamesWhatThereIs) {
  const Model model = Model::random("2,1024,16,4096");
  const auto engine = build(model, "cuda", "fp32");
  try {
    Session session(engine, {int64_t{1} << 26, 8, 512, 0});
    FAIL() << "there is that much memory";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory) << error.what();
  }
}

TEST_F(CudaEngine, ProfileTimesEveryStep) {
  const Model model = Model::load(kBundled);
  const auto engine = build(model, "cuda", "fp16");
  Session session(engine, {512, 16, 256, 0});
  session.set_profiling(true);
  const OwnBatch batch({100, 100}, 1);
  session.run(batch.view());
  ASSERT_EQ(session.step_times().size(), engine->steps().size());
  for (const StepTime& time : session.step_times()) EXPECT_GT(time.milliseconds, 0);
}

}  // namespace
}  // namespace bertie::test
