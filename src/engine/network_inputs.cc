#include "engine/network_inputs.h"

#include <algorithm>

#include "base/float16.h"

namespace bertie {

bool is_selection(const Value& input) { return input.name == kHeadRows || input.name == kFirstRows; }

bool is_read(const Network& network, ValueId input) {
  const auto outputs = network.outputs();
  return !network.consumers(input).empty() ||
         std::any_of(outputs.begin(), outputs.end(), [&](const Network::Output& output) { return output.value == input; });
}

bool is_packed(const Value& value) { return !value.shape.empty() && value.shape[0] == Dim("tokens"); }

void write_as(DType dtype, std::span<const int32_t> values, void* out) {
  const auto copy = [&](auto zero) { std::copy(values.begin(), values.end(), static_cast<decltype(zero)*>(out)); };
  const auto halves = [&](auto convert) {
    std::transform(values.begin(), values.end(), static_cast<uint16_t*>(out),
                   [&](int32_t v) { return convert(static_cast<float>(v)); });
  };
  switch (dtype) {
    case DType::f32: return copy(0.0f);
    case DType::f64: return copy(0.0);
    case DType::i32: return copy(int32_t{});
    case DType::i64: return copy(int64_t{});
    case DType::f16: return halves(float_to_f16);
    case DType::bf16: return halves(float_to_bf16);
    case DType::boolean:
      std::transform(values.begin(), values.end(), static_cast<uint8_t*>(out), [](int32_t v) { return v != 0; });
      return;
    case DType::i8: return copy(int8_t{});
    case DType::u8: return copy(uint8_t{});
  }
}

void fill_padded_positions(std::span<const int32_t> ids, int64_t columns, const PositionRule& rule,
                           std::span<int32_t> positions) {
  int32_t next = rule.first;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (static_cast<int64_t>(i) % columns == 0) next = rule.first;
    positions[i] = rule.padding_id >= 0 && ids[i] == rule.padding_id ? rule.padding_id : next++;
  }
}

}  // namespace bertie
