#include "formats/engine_file.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/message_of_test.h"

namespace bertie {
namespace {

using testing::AllOf;
using testing::HasSubstr;

EngineSection section_of(std::string name, const std::string& text) {
  return {.name = std::move(name), .bytes = std::as_bytes(std::span(text))};
}

std::string numbered(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 131 >> 3);
  return text;
}

class EngineFileTest : public testing::Test {
 protected:
  EngineFileTest() { path_ = testing::TempDir() + "/engine_file_" + std::to_string(::getpid()) + ".bertie"; }
  ~EngineFileTest() override { std::filesystem::remove(path_); }

  std::string write(const std::vector<std::pair<std::string, std::string>>& texts, int threads = 2) {
    std::vector<EngineSection> sources;
    for (const auto& [name, text] : texts) sources.push_back(section_of(name, text));
    ThreadPool pool(threads);
    write_engine_file(path_, sources, pool, {});
    return read_text_file(path_);
  }

  std::vector<EngineSection> parse(const std::string& bytes) {
    return parse_engine_file(std::as_bytes(std::span(bytes)), "x.bertie", pool_);
  }
  std::string refusal(const std::string& bytes) {
    return message_of([&] { parse(bytes); });
  }

  std::string path_;
  ThreadPool pool_{1};
};

const std::vector<std::pair<std::string, std::string>> kSmall = {
    {"first", "hello"}, {"empty", ""}, {"page", numbered(4096)}, {"last", numbered(5000)}};
constexpr size_t kSmallBytes = 4096 * (1 + 1 + 0 + 1 + 2);

TEST_F(EngineFileTest, GivesBackWhatWasWritten) {
  const std::string bytes = write(kSmall);
  ASSERT_EQ(bytes.size(), kSmallBytes);
  const std::vector<EngineSection> sections = parse(bytes);
  ASSERT_EQ(sections.size(), kSmall.size());
  uint64_t offset = 4096;
  for (size_t i = 0; i < kSmall.size(); ++i) {
    EXPECT_EQ(sections[i].name, kSmall[i].first);
    EXPECT_EQ(sections[i].offset, offset);
    ASSERT_EQ(sections[i].bytes.size(), kSmall[i].second.size());
    if (!kSmall[i].second.empty()) {
      EXPECT_EQ(std::memcmp(sections[i].bytes.data(), kSmall[i].second.data(), kSmall[i].second.size()), 0);
    }
    offset += (kSmall[i].second.size() + 4095) / 4096 * 4096;
  }
}

TEST_F(EngineFileTest, ManyChunksAndThreadsGiveTheSameBytes) {
  for (const size_t size : {kEngineFileChunk - 1, kEngineFileChunk, kEngineFileChunk + 1, 3 * kEngineFileChunk + 4097}) {
    const std::vector<std::pair<std::string, std::string>> texts = {{"a", "x"}, {"weights", numbered(size)}};
    const std::string one = write(texts, 1), three = write(texts, 3);
    EXPECT_TRUE(one == three) << size;
    ThreadPool pool(3);
    const auto sections = parse_engine_file(std::as_bytes(std::span(one)), "x", pool);
    EXPECT_EQ(std::memcmp(sections.at(1).bytes.data(), texts[1].second.data(), size), 0);
  }
}

TEST_F(EngineFileTest, AFlippedBitAnywhereIsRefusedNamingItsSection) {
  std::string bytes = write(kSmall);
  const std::vector<EngineSection> sections = parse(bytes);
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string section = "section header";
    for (const EngineSection& candidate : sections) {
      if (at >= candidate.offset && !candidate.bytes.empty()) section = "section " + candidate.name + ":";
    }
    const char before = bytes[at];
    bytes[at] = static_cast<char>(before ^ (1 << (at * 7 % 8)));
    const std::string message = refusal(bytes);
    bytes[at] = before;
    if (at < 8) {
      ASSERT_EQ(message, "x.bertie: is no engine file") << at;
    } else if (at >= 12 && at < 16) {
      ASSERT_THAT(message, HasSubstr("format version")) << at;
    } else {
      ASSERT_THAT(message, AllOf(HasSubstr("x.bertie: "), HasSubstr(section))) << at;
    }
  }
}

TEST_F(EngineFileTest, ATruncatedFileIsRefused) {
  const std::string bytes = write(kSmall);
  for (size_t size = 0; size < bytes.size(); size += size < 300 ? 1 : 97) {
    const std::string message = refusal(bytes.substr(0, size));
    ASSERT_THAT(message, HasSubstr("x.bertie: ")) << size;
    if (size >= 4096) {
      ASSERT_THAT(message, AllOf(HasSubstr("section "), HasSubstr("truncated"))) << size;
    }
  }
  EXPECT_THAT(refusal(bytes.substr(0, bytes.size() - 1)), AllOf(HasSubstr("section last"), HasSubstr("truncated")));
}

TEST_F(EngineFileTest, TrailingBytesAreRefused) {
  const std::string bytes = write(kSmall);
  for (const size_t more : {1, 4096}) {
    EXPECT_THAT(refusal(bytes + std::string(more, '\0')),
                HasSubstr("should have 20480 bytes and has " + std::to_string(20480 + more)));
  }
}

TEST_F(EngineFileTest, OtherVersionsAndByteOrdersAreNamed) {
  std::string bytes = write(kSmall);
  bytes[12] = 2;
  EXPECT_THAT(refusal(bytes), HasSubstr("x.bertie: an engine file of format version 2; this bertie reads version 1"));
  bytes[12] = 1;
  std::swap(bytes[8], bytes[11]);
  std::swap(bytes[9], bytes[10]);
  EXPECT_THAT(refusal(bytes), HasSubstr("the file is of the other byte order"));
}

TEST_F(EngineFileTest, ProgressCanEndTheWriting) {
  const std::string text = numbered(5 * kEngineFileChunk);
  const std::vector<EngineSection> sources = {section_of("weights", text)};
  ThreadPool pool(2);
  uint64_t last = 0;
  write_engine_file(path_, sources, pool, [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 4096 + text.size());
    EXPECT_LE(done, total);
    last = std::max(last, done);
  });
  EXPECT_EQ(last, text.size());
  std::filesystem::remove(path_);
  const auto cancel = [](uint64_t, uint64_t) { throw Error(ErrorCode::cancelled, "stop"); };
  EXPECT_EQ(message_of([&] { write_engine_file(path_, sources, pool, cancel); }), "stop");
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace bertie
