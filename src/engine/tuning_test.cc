// Kernels chosen by timing: the same bits whatever is chosen, times that are kept and used again, other machines.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <set>

#include "backend/kernel_timings.h"
#include "base/mapped_file.h"
#include "base/message_of_test.h"
#include "bertie/engine.h"
#include "bertie/model.h"
#include "cpu/isa.h"

namespace bertie {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const Model& model() {
  static const Model loaded = Model::load("tests/data/families/bert_masked");
  return loaded;
}

EngineOptions tuned(std::shared_ptr<KernelTimings> timings, bool tune = true) {
  EngineOptions options{.threads = 1};
  options.timings = std::move(timings);
  options.tune = tune;
  return options;
}

std::vector<float> hidden(const std::shared_ptr<const Engine>& engine) {
  Session session(engine, {.tokens = 64, .sequences = 4, .longest = 32});
  const std::vector<int32_t> ids = {2, 5, 7, 9, 3, 2, 8, 3}, lengths = {0, 5, 8};
  session.run({.token_ids = ids, .cumulative_lengths = lengths});
  const TensorView view = session.output("last_hidden_state");
  return {view.as<float>(), view.as<float>() + view.shape.elements()};
}

// As `timings`, with `kernel` the fastest wherever it was timed.
std::shared_ptr<KernelTimings> favouring(const KernelTimings& timings, const std::string& kernel) {
  auto changed = std::make_shared<KernelTimings>();
  for (auto [problem, times] : timings.impl().entries) {
    for (auto& [name, milliseconds] : times.milliseconds) {
      for (double& time : milliseconds) time = name == kernel ? 0.5 : 2;
    }
    changed->impl().add(problem, times);
  }
  return changed;
}

TEST(Tuning, EveryKernelThatWasTimedGivesTheSameBits) {
  const auto timings = std::make_shared<KernelTimings>();
  const std::vector<float> expected = hidden(Engine::build(model().network(), {.threads = 1}));
  const std::vector<float> by_time = hidden(Engine::build(model().network(), tuned(timings)));
  EXPECT_EQ(std::memcmp(by_time.data(), expected.data(), expected.size() * sizeof(float)), 0);
  std::set<std::string> kernels;
  for (const auto& [problem, times] : timings->impl().entries) {
    EXPECT_GE(times.milliseconds.size(), 2u) << problem.operands;
    for (const auto& [name, milliseconds] : times.milliseconds) kernels.insert(name);
  }
  ASSERT_GE(kernels.size(), 2u);  // packing on the fly is there on every machine
  for (const std::string& kernel : kernels) {
    const auto engine = Engine::build(model().network(), tuned(favouring(*timings, kernel), false));
    bool used = false;
    for (const StepInfo& step : engine->steps()) {
      if (step.kernel != kernel) continue;
      const bool timed = step.reason.find("chosen by timing: 0.5 ms vs 2 ms for cpu_") != std::string::npos;
      used = used || timed;
      EXPECT_TRUE(timed || step.reason.find("refused: ") != std::string::npos)
          << step.name << ": " << step.reason;  // by all others
    }
    EXPECT_TRUE(used) << kernel;
    const std::vector<float> actual = hidden(engine);
    ASSERT_EQ(actual.size(), expected.size());
    EXPECT_EQ(std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(float)), 0) << kernel;
  }
}

TEST(Tuning, WhatIsKnownIsNotTimedAgain) {
  const auto timings = std::make_shared<KernelTimings>();
  Engine::build(model().network(), tuned(timings));
  const auto before = timings->impl().json();
  EXPECT_GT(timings->size(), 0u);
  Engine::build(model().network(), tuned(timings));
  EXPECT_EQ(timings->impl().json(), before);
}

TEST(Tuning, ByRuleWithoutTimesAndOnTheReference) {
  const auto engine = Engine::build(model().network(), {.threads = 1});
  EXPECT_EQ(engine->timings(), nullptr);
  for (const StepInfo& step : engine->steps()) EXPECT_THAT(step.reason, testing::Not(HasSubstr("timing")));
  EngineOptions options = tuned(std::make_shared<KernelTimings>());
  options.device = "reference";
  EXPECT_EQ(Engine::build(model().network(), options)->timings(), nullptr);
}

TEST(Tuning, TimesOfAnotherMachineAreLeftAloneWithOneLogLine) {
  const auto here = std::make_shared<KernelTimings>(), elsewhere = std::make_shared<KernelTimings>();
  Engine::build(model().network(), tuned(here));
  for (const auto& [problem, times] : here->impl().entries) {
    TimedProblem other = problem;
    other.machine = "cpu avx1024, 1 threads";
    elsewhere->impl().add(other, times);
  }
  std::vector<std::string> lines;
  set_log_callback([&](LogLevel, std::string_view line) {
    if (line.find("timed on") != std::string_view::npos) lines.emplace_back(line);
  });
  const auto engine = Engine::build(model().network(), tuned(elsewhere, false));
  set_log_callback(nullptr);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], AllOf(HasSubstr("avx1024"), HasSubstr("chosen again by rule")));
  EXPECT_EQ(engine->timings(), nullptr);
}

TEST(Tuning, AnEngineFileKeepsAndAppliesItsTimes) {
  if (cpu::find_isa("avx512") == nullptr) GTEST_SKIP() << "from panels there is one kernel a step on this machine";
  const std::string path = testing::TempDir() + "/tuned_" + std::to_string(::getpid()) + ".bertie";
  save_engine(model(), path, tuned(nullptr));
  const Model loaded = Model::load(path);
  ASSERT_NE(loaded.timings(), nullptr);
  EXPECT_THAT(loaded.provenance(), HasSubstr("by timing on cpu "));
  const auto engine = Engine::build(loaded.network(), tuned(loaded.timings(), false));
  bool timed = false;
  for (const StepInfo& step : engine->steps()) timed = timed || step.reason.find("chosen by timing") != std::string::npos;
  EXPECT_TRUE(timed);
  const std::vector<float> expected = hidden(Engine::build(model().network(), {.threads = 1})), actual = hidden(engine);
  EXPECT_EQ(std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(float)), 0);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace bertie
