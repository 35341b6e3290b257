#include "formats/safetensors.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/mapped_file.h"
#include "bertie/base.h"
#include "formats/safetensors_test.h"

namespace bertie {
namespace {

using test::safetensors_file;
using testing::HasSubstr;

// Keeps the bytes alive and aligned as a mapping would.
TensorMap parse(const std::string& file) {
  const auto owner = std::make_shared<std::vector<uint64_t>>(file.size() / 8 + 1);
  std::memcpy(owner->data(), file.data(), file.size());
  return parse_safetensors({reinterpret_cast<const std::byte*>(owner->data()), file.size()}, owner, "F");
}

std::string refusal(const std::string& file) {
  try {
    parse(file);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_file);
    return error.what();
  }
  return "accepted";
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}
std::string header_of(const std::string& a, const std::string& b) { return fmt::format("{{{},{}}}", a, b); }

class Folder {
 public:
  Folder() : path_(std::filesystem::path(testing::TempDir()) / ("safetensors." + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  void write(const std::string& name, const std::string& bytes) const { std::ofstream(path_ / name, std::ios::binary) << bytes; }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST(Safetensors, ReadsEveryPart) {
  const TensorMap tensors = parse(safetensors_file({{"a", "F32", {2, 3}, std::string(24, 'x')},
                                                    {"scalar", "I64", {}, std::string("\x05\0\0\0\0\0\0\0", 8)},
                                                    {"empty", "F16", {0, 7}, ""},
                                                    {"small", "F8_E4M3", {3}, "abc"},
                                                    {"deep", "U8", {1, 1, 1, 1, 1, 1, 1, 1, 2}, "zz"}}));
  ASSERT_EQ(tensors.size(), 5u);
  EXPECT_EQ(tensors.at("a").tensor->shape, (Shape{2, 3}));
  EXPECT_EQ(tensors.at("a").tensor->view().as<char>()[23], 'x');
  EXPECT_EQ(tensors.at("scalar").tensor->view().as<int64_t>()[0], 5);
  EXPECT_EQ(tensors.at("empty").tensor->bytes(), 0u);
  EXPECT_FALSE(tensors.at("small").tensor);  // no such element type here, but no harm either
  EXPECT_FALSE(tensors.at("deep").tensor);
}

TEST(Safetensors, CopiesNothingThatIsAligned) {
  const auto file = MappedFile::open("models/minilm-l6-mlm/model.safetensors");
  const TensorMap tensors = read_safetensors(file->path());
  EXPECT_EQ(tensors.size(), 106u);
  std::shared_ptr<const void> owner;
  for (const auto& [name, stored] : tensors) {
    ASSERT_TRUE(stored.tensor) << name;
    if (!owner) owner = stored.tensor->data;
    EXPECT_FALSE(owner.owner_before(stored.tensor->data) || stored.tensor->data.owner_before(owner)) << name;
  }
}

TEST(Safetensors, CopiesWhatIsMisaligned) {
  const std::string value("\0\0\x80\x3f", 4);
  const TensorMap tensors = parse(safetensors_file(header_of(entry("b", "U8", "[1]", "[0,1]"), entry("f", "F32", "[1]", "[1,5]")),
                                                   std::string("x").append(value)));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensors.at("f").tensor->data.get()) % 4, 0u);
  EXPECT_EQ(tensors.at("f").tensor->view().as<float>()[0], 1.0f);
}

TEST(Safetensors, RefusesWhatIsBroken) {
  const std::string two(8, '\0');
  const auto one = [&](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return safetensors_file(fmt::format("{{{}}}", entry("t", dtype, shape, offsets)), two);
  };
  EXPECT_EQ(refusal(one("F32", "[2]", "[0,8]")), "accepted");
  EXPECT_THAT(refusal(""), HasSubstr("too short"));
  EXPECT_THAT(refusal("1234567"), HasSubstr("too short"));
  EXPECT_THAT(refusal(safetensors_file("{}", "", 3)), HasSubstr("header of 3 bytes"));
  EXPECT_THAT(refusal(safetensors_file("{}", "", INT64_MAX)), HasSubstr("header of"));
  EXPECT_THAT(refusal(std::string(16, '\xff')), HasSubstr("header of"));
  EXPECT_THAT(refusal(safetensors_file(" {}", "")), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(refusal(safetensors_file("{\"a\":", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(safetensors_file("{\"a\xff\":1}", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(safetensors_file(std::string("{\"a\":").append(100000, '['), "")), HasSubstr("nested deeper"));
  EXPECT_THAT(refusal(safetensors_file("{\"a\":7}", "")), HasSubstr("field 'a' must be an object"));
  EXPECT_THAT(refusal(safetensors_file("{\"a\":{}}", "")), HasSubstr("'a.dtype' is missing"));
  EXPECT_THAT(refusal(safetensors_file("{\"__metadata__\":{\"a\":1}}", "")), HasSubstr("__metadata__"));
  EXPECT_THAT(refusal(one("F33", "[2]", "[0,8]")), HasSubstr("'t.dtype'"));
  EXPECT_THAT(refusal(one("F32", "2", "[0,8]")), HasSubstr("'t.shape'"));
  EXPECT_THAT(refusal(one("F32", "[-2]", "[0,8]")), HasSubstr("'t.shape'"));
  EXPECT_THAT(refusal(one("F32", "[2.0]", "[0,8]")), HasSubstr("'t.shape'"));
  EXPECT_THAT(refusal(one("F32", "[18446744073709551615]", "[0,8]")), HasSubstr("'t.shape'"));
  EXPECT_THAT(refusal(one("F32", "[4611686018427387904,4]", "[0,8]")), HasSubstr("overflows"));
  EXPECT_THAT(refusal(one("F32", "[2]", "[0]")), HasSubstr("'t.data_offsets'"));
  EXPECT_THAT(refusal(one("F32", "[2]", "[8,0]")), HasSubstr("outside"));
  EXPECT_THAT(refusal(one("F32", "[2]", "[4,12]")), HasSubstr("outside"));
  EXPECT_THAT(refusal(one("F32", "[3]", "[0,8]")), HasSubstr("does not fill"));
  EXPECT_THAT(refusal(one("F4", "[1]", "[0,8]")), HasSubstr("does not fill"));
  EXPECT_THAT(refusal(one("F32", "[1]", "[4,8]")), HasSubstr("hole"));
  EXPECT_THAT(refusal(one("F32", "[1]", "[0,4]")), HasSubstr("8 bytes of data, but the tensors take 4"));
}

TEST(Safetensors, RefusesDuplicatesAndOverlaps) {
  const std::string data(8, '\0');
  const auto both = [&](const std::string& a, const std::string& b) { return refusal(safetensors_file(header_of(a, b), data)); };
  EXPECT_EQ(both(entry("a", "F32", "[1]", "[4,8]"), entry("b", "F32", "[1]", "[0,4]")), "accepted");  // in any order
  EXPECT_THAT(both(entry("a", "F32", "[1]", "[0,4]"), entry("a", "F32", "[1]", "[4,8]")), HasSubstr("'a' stands twice"));
  EXPECT_THAT(both(entry("a", "F32", "[2]", "[0,8]"), entry("b", "F32", "[1]", "[4,8]")), HasSubstr("inside another"));
  EXPECT_THAT(both(entry("a", "F32", "[2]", "[0,8]"), entry("b", "F32", "[2]", "[0,8]")), HasSubstr("inside another"));
}

TEST(Safetensors, SurvivesTruncationAndFlippedBits) {
  const std::string good =
      safetensors_file({{"one", "F32", {3}, std::string(12, 'a')}, {"two", "BF16", {2, 2}, std::string(8, 'b')}});
  EXPECT_EQ(refusal(good), "accepted");
  for (size_t size = 0; size < good.size(); ++size) EXPECT_NE(refusal(good.substr(0, size)), "accepted") << size;
  EXPECT_NE(refusal(good + "x"), "accepted");
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    refusal(flipped);  // refused by an Error, or another valid file
  }
}

TEST(Safetensors, ReadsShards) {
  const Folder folder;
  folder.write("a.safetensors", safetensors_file({{"x", "U8", {1}, "1"}, {"unlisted", "U8", {1}, "2"}}));
  folder.write("b.safetensors", safetensors_file({{"y", "U8", {1}, "3"}}));
  const auto read = [&](const std::string& index) {
    folder.write("model.safetensors.index.json", index);
    return read_checkpoint(folder.path());
  };
  const TensorMap tensors = read(R"({"weight_map":{"x":"a.safetensors","y":"b.safetensors"}})");
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(*tensors.at("y").tensor->view().as<char>(), '3');

  const auto refused = [&](const std::string& index) -> std::string {
    try {
      read(index);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refused(R"({"weight_map":{"z":"a.safetensors"}})"), HasSubstr("tensor 'z' is not in"));
  EXPECT_THAT(refused(R"({"weight_map":{"x":"missing.safetensors"}})"), HasSubstr("missing.safetensors"));
  EXPECT_THAT(refused(R"({"weight_map":{"x":"../a.safetensors"}})"), HasSubstr("inside the folder"));
  EXPECT_THAT(refused(R"({"weight_map":{"x":"s/../../a.safetensors"}})"), HasSubstr("inside the folder"));
  EXPECT_THAT(refused(R"({"weight_map":{"x":"/etc/passwd"}})"), HasSubstr("inside the folder"));
  EXPECT_THAT(refused(R"({"weight_map":{"x":7}})"), HasSubstr("inside the folder"));
  EXPECT_THAT(refused(R"({"weight_map":[]})"), HasSubstr("'weight_map'"));
  EXPECT_THAT(refused("[]"), HasSubstr("JSON object"));
  EXPECT_THAT(refused("{"), HasSubstr("not valid JSON"));
}

TEST(Safetensors, NamesTheFolderWithoutWeights) {
  const Folder folder;
  try {
    read_checkpoint(folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_THAT(error.what(), HasSubstr(folder.path()));
  }
}

}  // namespace
}  // namespace bertie
