#include "backend/kernel_timings.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/mapped_file.h"

namespace bertie {
namespace {

using testing::HasSubstr;

class KernelTimingsTest : public testing::Test {
 protected:
  KernelTimingsTest() { path_ = testing::TempDir() + "/timings_" + std::to_string(::getpid()) + ".json"; }
  ~KernelTimingsTest() override { std::filesystem::remove(path_); }
  std::string path_;
};

const TimedProblem kProblem = {std::string(version()), "cpu avx2, 2 threads", "linear", "f32 [tokens, 8], f32 [4, 8]"};
const KernelTimes kTimes = {{16, 128}, {{"fast", {0.25, 1.5}}, {"slow", {0.5, 0.333333}}}};

TEST_F(KernelTimingsTest, WhatIsAddedIsFoundAgainAlsoInTheFile) {
  KernelTimings timings(path_);
  EXPECT_EQ(timings.size(), 0u);
  timings.impl().add(kProblem, kTimes);
  EXPECT_FALSE(std::filesystem::exists(path_));
  timings.impl().flush();
  const KernelTimings again(path_);
  EXPECT_EQ(again.problem(), "");
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again.impl().find(kProblem)->tokens, kTimes.tokens);
  EXPECT_EQ(again.impl().find(kProblem)->milliseconds, kTimes.milliseconds);
  EXPECT_THAT(again.impl().machines(), testing::ElementsAre("cpu avx2, 2 threads"));
}

TEST_F(KernelTimingsTest, EveryPartOfTheKeyCounts) {
  KernelTimings timings;
  timings.impl().add(kProblem, kTimes);
  for (auto part : {&TimedProblem::bertie, &TimedProblem::machine, &TimedProblem::op, &TimedProblem::operands}) {
    TimedProblem other = kProblem;
    other.*part += "x";
    EXPECT_FALSE(timings.impl().find(other));
  }
  EXPECT_TRUE(timings.impl().find(kProblem));
}

TEST_F(KernelTimingsTest, NothingNewIsNotWritten) {
  KernelTimings timings(path_);
  timings.impl().flush();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(KernelTimingsTest, ABrokenFileIsNamedAndWrittenAnew) {
  KernelTimings good;
  good.impl().add(kProblem, kTimes);
  const nlohmann::json json = good.impl().json();
  const auto changed = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json broken = json;
    broken[nlohmann::json::json_pointer(pointer)] = value;
    return broken.dump();
  };
  for (const std::string& text :
       {std::string("{"), std::string(), std::string("[]"), std::string("{\"format\": \"other\"}"),
        changed("/format", "bertie kernel timings 9"), changed("/timings", 3), changed("/timings/0/ms/fast", {1}),
        changed("/timings/0/ms/fast", {1, -1}), changed("/timings/0/ms", nlohmann::json::object()),
        changed("/timings/0/tokens", {0, 1}), changed("/timings/0/op", 5)}) {
    std::ofstream(path_) << text;
    KernelTimings timings(path_);
    EXPECT_THAT(timings.problem(), HasSubstr(path_)) << text;
    EXPECT_EQ(timings.problem().find('\n'), std::string::npos);
    EXPECT_EQ(timings.size(), 0u);
    timings.impl().flush();
    EXPECT_EQ(KernelTimings(path_).problem(), "");
  }
}

}  // namespace
}  // namespace bertie
