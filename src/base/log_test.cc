#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace bertie {
// Notes whether it was ever formatted.
struct Costly {
  bool& formatted;
};
}  // namespace bertie

template <>
struct fmt::formatter<bertie::Costly> : fmt::formatter<int> {
  template <typename Context>
  auto format(const bertie::Costly& costly, Context& context) const {
    costly.formatted = true;
    return fmt::formatter<int>::format(0, context);
  }
};

namespace bertie {
namespace {

class LogTest : public testing::Test {
 protected:
  ~LogTest() override { set_log_callback(nullptr); }
};

TEST_F(LogTest, LinesReachTheCallbackWithTheirLevel) {
  std::vector<std::pair<LogLevel, std::string>> lines;
  set_log_callback([&](LogLevel level, std::string_view line) { lines.emplace_back(level, line); });
  EXPECT_TRUE(log_enabled());
  log(LogLevel::info, "{} of {}", 1, "two");
  log(LogLevel::warning, "{{}}");
  EXPECT_THAT(lines, testing::ElementsAre(testing::Pair(LogLevel::info, "1 of two"), testing::Pair(LogLevel::warning, "{}")));
}

TEST_F(LogTest, NullptrRestoresSilence) {
  int calls = 0;
  set_log_callback([&](LogLevel, std::string_view) { ++calls; });
  set_log_callback(nullptr);
  EXPECT_FALSE(log_enabled());
  log(LogLevel::info, "unheard");
  log_message(LogLevel::info, "unheard");
  EXPECT_EQ(calls, 0);
}

TEST_F(LogTest, LinesOfSeveralThreadsComeWhole) {
  std::vector<std::string> lines;  // unguarded: the callback is called by one thread at a time
  set_log_callback([&](LogLevel, std::string_view line) { lines.emplace_back(line); });
  std::vector<std::thread> threads;
  for (int id = 0; id < 4; ++id) {
    threads.emplace_back([id] {
      for (int i = 0; i < 250; ++i) log(LogLevel::debug, "thread {} line {}", id, i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lines.size(), 1000u);
  EXPECT_THAT(lines, testing::Each(testing::StartsWith("thread ")));
}

TEST(VersionTest, HasThreeNumbers) { EXPECT_THAT(std::string(version()), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+")); }

TEST_F(LogTest, NothingIsFormattedWhereNobodyListens) {
  bool formatted = false;
  log(LogLevel::info, "{}", Costly{formatted});
  EXPECT_FALSE(formatted);
  set_log_callback([](LogLevel, std::string_view) {});
  log(LogLevel::info, "{}", Costly{formatted});
  EXPECT_TRUE(formatted);
}

}  // namespace
}  // namespace bertie
