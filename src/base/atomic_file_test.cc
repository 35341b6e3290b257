#include "base/atomic_file.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/mapped_file.h"
#include "base/message_of_test.h"
#include "base/temporary_folder_test.h"

namespace bertie {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public testing::Test, protected TemporaryFolder {
 protected:
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path().filename().string());
    return found;
  }
};

TEST_F(AtomicFileTest, ReplacesTheTargetAtCommitAlone) {
  write_file_atomically(path("a"), "old");
  {
    AtomicFile file(path("a"));
    file.write_at(0, std::as_bytes(std::span(std::string_view("new and longer"))));
    EXPECT_EQ(read_text_file(path("a")), "old");
    file.commit();
  }
  EXPECT_EQ(read_text_file(path("a")), "new and longer");
  EXPECT_THAT(names(), testing::ElementsAre("a"));
}

TEST_F(AtomicFileTest, LeavesNothingBehindWithoutCommit) {
  {
    AtomicFile file(path("a"));
    file.write_at(5, std::as_bytes(std::span(std::string_view("half"))));
  }
  EXPECT_TRUE(names().empty());
}

TEST_F(AtomicFileTest, SaysWhyThereIsNone) {
  EXPECT_THAT(message_of([&] { AtomicFile file(path("no/a")); }),
              testing::AllOf(testing::HasSubstr("/no/a: "), testing::HasSubstr("No such")));
  EXPECT_THAT(message_of([&] { AtomicFile file(folder_); }), testing::HasSubstr("is no regular file"));
  EXPECT_THAT(message_of([] { AtomicFile file("/dev/null"); }), testing::HasSubstr("/dev/null: is no regular file"));
}

// In a child, whose limit of file size stands for a full disk.
TEST_F(AtomicFileTest, AFullDiskLeavesTheOldFile) {
  write_file_atomically(path("a"), "old");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 16, 1 << 16};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string much(1 << 20, 'x');
    const std::string message = message_of([&] { write_file_atomically(path("a"), much); });
    ::_exit(message == path("a") + ": File too large" ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_text_file(path("a")), "old");
  EXPECT_THAT(names(), testing::ElementsAre("a"));
}

}  // namespace
}  // namespace bertie
