#include "tests/support/eight_bits.h"

#include "quant/fp8.h"

namespace bertie::test {
namespace {

template <typename T>
Tensor make_tensor(DType dtype, const Shape& shape, std::vector<T> elements) {
  elements.push_back(0);  // no null pointer where empty
  const auto storage = std::make_shared<std::vector<T>>(std::move(elements));
  return {dtype, shape, std::shared_ptr<const void>(storage, storage->data())};
}

}  // namespace

Tensor integers_of(const Shape& shape, std::vector<int8_t> integers) {
  return make_tensor(DType::i8, shape, std::move(integers));
}
Tensor codes_of(const Shape& shape, std::vector<uint8_t> codes) { return make_tensor(DType::u8, shape, std::move(codes)); }

Tensor random_integers(std::mt19937& random, const Shape& shape) {
  std::vector<int8_t> values(static_cast<size_t>(shape.elements()));
  for (int8_t& value : values) value = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
  return integers_of(shape, std::move(values));
}

Tensor random_codes(std::mt19937& random, const Shape& shape, float scale) {
  std::normal_distribution<float> normal;
  std::vector<uint8_t> codes(static_cast<size_t>(shape.elements()));
  for (uint8_t& code : codes) code = float_to_fp8(normal(random) * scale);
  return codes_of(shape, std::move(codes));
}

}  // namespace bertie::test
