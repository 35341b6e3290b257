#include "bertie/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace bertie {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename Callable>
Error error_of(Callable&& callable) {
  try {
    callable();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return {ErrorCode::io, ""};
}

TEST(DTypeTest, EveryTypeHasANameAndASize) {
  const struct {
    DType dtype;
    const char* name;
    size_t size;
  } rows[] = {{DType::f32, "f32", 4}, {DType::f16, "f16", 2}, {DType::bf16, "bf16", 2},
              {DType::f64, "f64", 8}, {DType::i8, "i8", 1},   {DType::u8, "u8", 1},
              {DType::i32, "i32", 4}, {DType::i64, "i64", 8}, {DType::boolean, "bool", 1}};
  for (const auto& row : rows) {
    EXPECT_EQ(dtype_name(row.dtype), row.name);
    EXPECT_EQ(dtype_size(row.dtype), row.size) << row.name;
  }
}

TEST(ShapeTest, HoldsItsExtents) {
  Shape shape{2, 128, 384};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[1], 128);
  EXPECT_EQ(shape.back(), 384);
  EXPECT_EQ(shape.elements(), 2 * 128 * 384);
  EXPECT_EQ(shape.to_string(), "[2, 128, 384]");
  shape[0] = 0;
  EXPECT_EQ(shape.elements(), 0);
  EXPECT_THAT(std::vector<int64_t>(shape.begin(), shape.end()), ElementsAre(0, 128, 384));
}

TEST(ShapeTest, AScalarHasOneElement) {
  EXPECT_EQ(Shape{}.rank(), 0);
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ(Shape{}.to_string(), "[]");
}

TEST(ShapeTest, EqualMeansSameRankAndExtents) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_FALSE((Shape{2, 3}) == (Shape{3, 2}));
  EXPECT_FALSE((Shape{2}) == (Shape{2, 0}));  // the unused extents are zero too
  EXPECT_FALSE((Shape{2, 1}) == (Shape{2}));
}

TEST(ShapeTest, EightExtentsAreTheLimit) {
  EXPECT_EQ(Shape(std::vector<int64_t>(8, 1)).rank(), 8);
  const Error error = error_of([] { Shape(std::vector<int64_t>(9, 1)); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_THAT(error.what(), HasSubstr("rank 9"));
}

TEST(TensorTest, CopiesItsValues) {
  std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const Tensor tensor = Tensor::from_floats({2, 3}, values);
  values[0] = 9;
  EXPECT_EQ(tensor.dtype, DType::f32);
  EXPECT_EQ(tensor.bytes(), 24u);
  EXPECT_EQ(tensor.view().as<float>()[0], 1);
  EXPECT_EQ(tensor.view().as<float>()[5], 6);

  const std::vector<int64_t> ids = {-1, int64_t{1} << 40};
  const Tensor integers = Tensor::from_int64s({2}, ids);
  EXPECT_EQ(integers.dtype, DType::i64);
  EXPECT_EQ(integers.view().as<int64_t>()[1], int64_t{1} << 40);
}

TEST(TensorTest, MayBeEmptyOrAScalar) {
  EXPECT_EQ(Tensor::from_floats({0, 3}, {}).bytes(), 0u);
  const float one[] = {1};
  EXPECT_EQ(Tensor::from_floats({}, one).bytes(), 4u);
}

TEST(TensorTest, RefusesAWrongNumberOfValues) {
  const float values[] = {1, 2, 3, 4, 5};
  const Error error = error_of([&] { Tensor::from_floats({2, 3}, values); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  EXPECT_THAT(error.what(), HasSubstr("[2, 3]"));
  EXPECT_THAT(error.what(), HasSubstr("5"));
}

TEST(TensorTest, CopiesShareTheBytes) {
  const float values[] = {1, 2};
  std::weak_ptr<const void> watch;
  {
    const Tensor tensor = Tensor::from_floats({2}, values);
    const Tensor copy = tensor;
    EXPECT_EQ(copy.data, tensor.data);
    watch = copy.data;
  }
  EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace bertie
