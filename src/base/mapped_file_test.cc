#include "base/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/temporary_folder_test.h"
#include "bertie/base.h"

namespace bertie {
namespace {

using testing::HasSubstr;

class MappedFileTest : public testing::Test, protected TemporaryFolder {
 protected:
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
};

template <typename Callable>
void expect_error(Callable&& callable, ErrorCode code, const std::string& path) {
  try {
    callable();
    ADD_FAILURE() << path << ": no Error was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(path));
  }
}

std::string text_of(const MappedFile& file) { return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}; }

// Pages of mapped files in this process's resident set.
int64_t resident_file_pages() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0, shared = 0;
  statm >> total >> resident >> shared;
  return shared;
}

TEST_F(MappedFileTest, GivesTheBytesOfTheFile) {
  for (const size_t size : {0, 1, 4095, 4096, 4097, 100000}) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31);
    const std::string path = write("file", bytes);
    EXPECT_EQ(text_of(*MappedFile::open(path)), bytes) << size;
    EXPECT_EQ(MappedFile::open(path)->path(), path);
    EXPECT_EQ(read_text_file(path), bytes) << size;
  }
}

TEST_F(MappedFileTest, StaysReadableAfterTheFileIsUnlinked) {
  const std::string path = write("file", "still here");
  const auto file = MappedFile::open(path);
  std::filesystem::remove(path);
  EXPECT_EQ(text_of(*file), "still here");
}

TEST_F(MappedFileTest, NamesThePathInErrors) {
  const std::string missing = folder_ + "/missing";
  expect_error([&] { MappedFile::open(missing); }, ErrorCode::not_found, missing);
  expect_error([&] { read_text_file(missing); }, ErrorCode::not_found, missing);
  const std::string below_a_file = write("file", "x") + "/below";
  expect_error([&] { MappedFile::open(below_a_file); }, ErrorCode::not_found, below_a_file);
  expect_error([&] { MappedFile::open(folder_); }, ErrorCode::io, folder_);
  expect_error([&] { read_text_file(folder_); }, ErrorCode::io, folder_);
  expect_error([&] { MappedFile::open("/dev/null"); }, ErrorCode::io, "/dev/null");
}

TEST_F(MappedFileTest, TextIsReadFromWhatHasNoSize) {
  EXPECT_THAT(read_text_file("/proc/self/status"), HasSubstr("Name:"));
  EXPECT_EQ(read_text_file("/dev/null"), "");
}

TEST_F(MappedFileTest, LeaksNoDescriptor) {
  const std::string path = write("file", "x");
  const auto open_descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto before = open_descriptors();
  const auto file = MappedFile::open(path);
  for (int i = 0; i < 10; ++i) {
    read_text_file(path);
    EXPECT_ANY_THROW(MappedFile::open(folder_));
    EXPECT_ANY_THROW(MappedFile::open("/dev/null"));
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(MappedFileTest, ReleasedPagesLeaveMemoryAndAreReadAgain) {
  constexpr size_t kSize = size_t{8} << 20;
  const std::string bytes(kSize, 'x');
  const auto file = MappedFile::open(write("file", bytes));
  ASSERT_EQ(text_of(*file), bytes);  // touches every page
  const int64_t pages = static_cast<int64_t>(kSize) / ::sysconf(_SC_PAGESIZE);
  const int64_t before = resident_file_pages();
  release_resident(file->bytes().data(), kSize);
  EXPECT_LT(resident_file_pages(), before - pages * 3 / 4);
  EXPECT_EQ(text_of(*file), bytes);
}

TEST_F(MappedFileTest, ReleaseKeepsThePagesThatAreOnlyPartlyInside) {
  const std::string bytes(4 * 4096, 'x');
  const auto file = MappedFile::open(write("file", bytes));
  release_resident(file->bytes().data() + 1, 4094);
  release_resident(file->bytes().data() + 4095, 2);
  release_resident(file->bytes().data(), 0);
  release_resident(file->bytes().data() + 100, 3 * 4096);
  EXPECT_EQ(text_of(*file), bytes);
}

// Anonymous memory would read as zeros after such a call: only memory of mapped files may be let go.
TEST_F(MappedFileTest, ReleaseLeavesOtherMemoryAlone) {
  const auto file = MappedFile::open(write("file", std::string(4096, 'x')));
  std::vector<char> heap(size_t{1} << 20, 'y');
  release_resident(heap.data(), heap.size());
  EXPECT_EQ(std::count(heap.begin(), heap.end(), 'y'), static_cast<std::ptrdiff_t>(heap.size()));
  release_resident(nullptr, 0);
  release_resident(nullptr, 4096);
}

}  // namespace
}  // namespace bertie
