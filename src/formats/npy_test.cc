// The literal files were printed by numpy 2.4 (np.lib.format.write_array).
#include "formats/npy.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

namespace bertie {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor parse(const std::string& file) {
  const auto owner = std::make_shared<std::vector<uint64_t>>(file.size() / 8 + 1);
  std::memcpy(owner->data(), file.data(), file.size());
  return parse_npy({reinterpret_cast<const std::byte*>(owner->data()), file.size()}, owner, "F");
}

// A version 1 file with this header text.
std::string file_of(const std::string& header, const std::string& data) {
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  return file + header + data;
}

std::string refusal(const std::string& file) {
  try {
    parse(file);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

template <typename T>
std::vector<T> values(const Tensor& tensor) {
  return {tensor.view().as<T>(), tensor.view().as<T>() + tensor.shape.elements()};
}

TEST(Npy, WritesWhatNumpyWrites) {
  // np.save of np.array([[1, 2, 3]], "f4")
  const std::string expected = std::string("\x93NUMPY\x01\x00v\x00", 10) +
                               "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }" + std::string(58, ' ') + "\n" +
                               std::string("\0\0\x80?\0\0\0@\0\0@@", 12);
  const std::vector<float> numbers = {1, 2, 3};
  EXPECT_EQ(format_npy(Tensor::from_floats({1, 3}, numbers).view()), expected);
  EXPECT_EQ(expected.size(), 140u);
}

TEST(Npy, RoundTripsShapesAndTypes) {
  const std::vector<int64_t> numbers = {1, -2, 3, 1LL << 40, 5, 6};
  for (const Shape& shape : {Shape{6}, Shape{1, 6}, Shape{3, 2, 1}}) {
    const Tensor back = parse(format_npy(Tensor::from_int64s(shape, numbers).view()));
    EXPECT_EQ(back.dtype, DType::i64);
    EXPECT_EQ(back.shape, shape);
    EXPECT_EQ(values<int64_t>(back), numbers);
  }
  EXPECT_EQ(parse(format_npy(Tensor::from_floats(Shape{}, std::vector<float>{7}).view())).shape.rank(), 0);
  EXPECT_EQ(parse(format_npy(Tensor::from_floats(Shape{0, 3}, {}).view())).shape, (Shape{0, 3}));
  for (const DType dtype : {DType::f64, DType::f16, DType::i8, DType::u8, DType::i32, DType::boolean}) {
    const uint64_t bytes[2] = {0x0101010101010101, 0x0100010001000100};
    const Tensor back = parse(format_npy({bytes, dtype, Shape{2}}));
    EXPECT_EQ(back.dtype, dtype);
    EXPECT_EQ(std::memcmp(back.data.get(), bytes, back.bytes()), 0);
  }
  EXPECT_THROW(format_npy({nullptr, DType::bf16, Shape{0}}), Error);
}

TEST(Npy, ReadsVersionsTwoAndThree) {
  const std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }\n";
  for (const char version : {'\x02', '\x03'}) {
    std::string file = std::string("\x93NUMPY") + version + std::string(1, '\0') + static_cast<char>(header.size());
    file += std::string(3, '\0') + header + "ab";
    EXPECT_THAT(values<char>(parse(file)), ElementsAre('a', 'b'));
  }
  EXPECT_THAT(refusal(std::string("\x93NUMPY\x04").append(10, '\0')), HasSubstr("version 4"));
}

TEST(Npy, ReadsFortranOrder) {
  // np.asfortranarray(np.arange(6, dtype="u1").reshape(2, 3)) and a (2, 3, 2) one
  const Tensor two = parse(file_of("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", std::string("\0\3\1\4\2\5", 6)));
  EXPECT_THAT(values<char>(two), ElementsAre(0, 1, 2, 3, 4, 5));
  const Tensor three = parse(
      file_of("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 2), }", std::string("\0\6\2\10\4\12\1\7\3\11\5\13", 12)));
  EXPECT_THAT(values<char>(three), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
}

TEST(Npy, ReadsHeadersOfOtherWriters) {
  EXPECT_EQ(parse(file_of(R"({"shape":(1,2),"descr":"|i1","fortran_order":False})", "ab")).shape, (Shape{1, 2}));
  EXPECT_EQ(values<float>(parse(file_of("{'descr':'<f4','fortran_order':False,'shape':()}", std::string("\0\0\x80?", 4))))[0],
            1.0f);
}

TEST(Npy, RefusesWhatIsBroken) {
  const auto with = [](const std::string& descr, const std::string& order, const std::string& shape) {
    return refusal(file_of(fmt::format("{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}", descr, order, shape), "abcd"));
  };
  EXPECT_EQ(with("'|u1'", "False", "(4,)"), "accepted");
  EXPECT_THAT(refusal(""), HasSubstr("not a .npy file"));
  EXPECT_THAT(refusal("PK\x03\x04 an archive"), HasSubstr("not a .npy file"));
  EXPECT_THAT(with("'>f4'", "False", "(1,)"), HasSubstr("'>f4'"));
  EXPECT_THAT(with("'<c8'", "False", "(1,)"), HasSubstr("'<c8'"));
  EXPECT_THAT(with("[('a', '<f4')]", "False", "(1,)"), HasSubstr("structured"));
  EXPECT_THAT(with("'|u1'", "0", "(4,)"), HasSubstr("header is broken"));
  EXPECT_THAT(with("'|u1'", "False", "(4"), HasSubstr("header is broken"));
  EXPECT_THAT(with("'|u1'", "False", "(-4,)"), HasSubstr("header is broken"));
  EXPECT_THAT(with("'|u1'", "False", "(99999999999999999999,)"), HasSubstr("header is broken"));
  EXPECT_THAT(with("'<f8'", "False", "(4611686018427387904,)"), HasSubstr("overflows"));
  EXPECT_THAT(with("'|u1'", "False", "(1,1,1,1,1,1,1,1,4)"), HasSubstr("9 axes"));
  EXPECT_THAT(with("'|u1'", "False", "(3,)"), HasSubstr("4 bytes of data"));
  EXPECT_THAT(with("'|u1'", "False", "(5,)"), HasSubstr("4 bytes of data"));
  EXPECT_THAT(refusal(file_of("{'descr': '|u1', 'shape': (4,), }", "abcd")), HasSubstr("header is broken"));
  EXPECT_THAT(refusal(file_of("{'descr': '|u1', 'descr': '|u1', }", "abcd")), HasSubstr("header is broken"));
  EXPECT_THAT(refusal(file_of("{'descr': '|u1', 'fortran_order': False, 'shape': (4,), 'x': 1}", "abcd")), HasSubstr("broken"));
  EXPECT_THAT(refusal(std::string("\x93NUMPY\x01\x00\xff\xff{}", 12)), HasSubstr("header of 65535 bytes"));
}

TEST(Npy, SurvivesTruncationAndFlippedBits) {
  const std::string good = file_of("{'descr': '<i4', 'fortran_order': True, 'shape': (1, 2), }", "abcdefgh");
  EXPECT_EQ(refusal(good), "accepted");
  for (size_t size = 0; size < good.size(); ++size) EXPECT_NE(refusal(good.substr(0, size)), "accepted") << size;
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    refusal(flipped);
  }
}

TEST(Npy, ReadsAndWritesFiles) {
  const std::string path = testing::TempDir() + "bertie_npy_test.npy";
  const std::vector<float> numbers = {1.5f, -2};
  write_npy(path, Tensor::from_floats({2, 1}, numbers).view());
  EXPECT_EQ(values<float>(read_npy(path)), numbers);
  std::filesystem::remove(path);
  EXPECT_THROW(read_npy(path), Error);
  EXPECT_THROW(write_npy("/no/such/folder/x.npy", Tensor::from_floats({2, 1}, numbers).view()), Error);
}

}  // namespace
}  // namespace bertie
