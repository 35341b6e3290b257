#include "base/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace bertie {
namespace {

// A small binary format, by its definition, in exact double arithmetic.
struct Format {
  int mantissa_bits;
  int bias;
  uint16_t exponent_mask;  // of the exponent field, not shifted
  uint16_t (*encode)(float);
  float (*decode)(uint16_t);

  uint16_t infinity() const { return static_cast<uint16_t>(exponent_mask << mantissa_bits); }
  bool is_nan(uint16_t bits) const { return (bits & 0x7fff) > infinity(); }

  // The value of a finite pattern. Infinity's pattern gives the value that it would have were the exponent range larger: the
  // one that decides where rounding overflows.
  double value(uint16_t bits) const {
    const int exponent = (bits >> mantissa_bits) & exponent_mask;
    const int mantissa = bits & ((1 << mantissa_bits) - 1);
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                           : std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
    return bits & 0x8000 ? -magnitude : magnitude;
  }
};

const Format kFormats[] = {{10, 15, 0x1f, float_to_f16, f16_to_float}, {7, 127, 0xff, float_to_bf16, bf16_to_float}};

class Float16Test : public testing::TestWithParam<int> {
 protected:
  const Format& format() const { return kFormats[GetParam()]; }
};

TEST_P(Float16Test, EveryPatternWidensToItsValue) {
  for (uint32_t pattern = 0; pattern <= 0xffff; ++pattern) {
    const uint16_t bits = static_cast<uint16_t>(pattern);
    const float widened = format().decode(bits);
    if (format().is_nan(bits)) {
      ASSERT_TRUE(std::isnan(widened)) << bits;
    } else if ((bits & 0x7fff) == format().infinity()) {
      ASSERT_TRUE(std::isinf(widened)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(widened), format().value(bits)) << bits;
    }
    ASSERT_EQ(std::signbit(widened), (bits & 0x8000) != 0) << bits;
  }
}

TEST_P(Float16Test, EveryPatternSurvivesTheRoundTrip) {
  for (uint32_t pattern = 0; pattern <= 0xffff; ++pattern) {
    const uint16_t bits = static_cast<uint16_t>(pattern);
    const uint16_t again = format().encode(format().decode(bits));
    if (format().is_nan(bits)) {
      ASSERT_TRUE(format().is_nan(again)) << bits;
    } else {
      ASSERT_EQ(again, bits);
    }
  }
}

// Between each two neighbours: the midpoint goes to the even one, the floats on either side of it to the nearer one.
TEST_P(Float16Test, EveryRoundingBoundaryIsTiesToEven) {
  for (uint16_t low = 0; low < format().infinity(); ++low) {
    const uint16_t high = static_cast<uint16_t>(low + 1);
    const double exact = (format().value(low) + format().value(high)) / 2;
    const float midpoint = static_cast<float>(exact);
    if (static_cast<double>(midpoint) != exact) {
      ASSERT_EQ(high, format().infinity());  // bfloat16's last boundary is 2^128 * (1 - 2^-9), a float
      continue;
    }
    const uint16_t even = low % 2 == 0 ? low : high;
    for (const uint16_t sign : {uint16_t{0}, uint16_t{0x8000}}) {
      const float signed_midpoint = sign ? -midpoint : midpoint;
      ASSERT_EQ(format().encode(signed_midpoint), even | sign) << midpoint;
      ASSERT_EQ(format().encode(std::nextafter(signed_midpoint, 0.0f)), low | sign) << midpoint;
      const float beyond = std::nextafter(signed_midpoint, sign ? -INFINITY : INFINITY);
      ASSERT_EQ(format().encode(beyond), high | sign) << midpoint;
    }
  }
}

// A walk over all float patterns: the result is a nearest value, whichever pattern came in.
TEST_P(Float16Test, AnyFloatRoundsToANearestValue) {
  constexpr uint32_t kStride = 4099;  // prime: every low-bit pattern comes up
  for (uint64_t pattern = 0; pattern <= 0xffffffffu; pattern += kStride) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(pattern));
    const uint16_t bits = format().encode(value);
    if (std::isnan(value)) {
      ASSERT_TRUE(format().is_nan(bits)) << pattern;
      continue;
    }
    if (std::isinf(value)) {
      ASSERT_EQ(bits & 0x7fff, format().infinity()) << pattern;
      continue;
    }
    ASSERT_FALSE(format().is_nan(bits)) << pattern;
    ASSERT_EQ((bits & 0x8000) != 0, std::signbit(value)) << pattern;
    const uint16_t magnitude = bits & 0x7fff;
    const double error = std::abs(std::abs(static_cast<double>(value)) - format().value(magnitude));
    for (const int step : {-1, 1}) {
      const int neighbour = magnitude + step;
      if (neighbour < 0 || neighbour > format().infinity()) continue;
      const double other = format().value(static_cast<uint16_t>(neighbour));
      if (step > 0 || magnitude < format().infinity()) {
        ASSERT_LE(error, std::abs(std::abs(static_cast<double>(value)) - other)) << pattern;
      } else {
        // Every overflow lies at or beyond the last boundary.
        ASSERT_GE(std::abs(static_cast<double>(value)), (other + format().value(magnitude)) / 2) << pattern;
      }
    }
  }
}

TEST_P(Float16Test, NanStaysNanWhereverItsPayloadLies) {
  for (const uint32_t payload : {0x1u, 0x1000u, 0x2000u, 0xffffu, 0x10000u, 0x400000u, 0x7fffffu}) {
    for (const uint32_t sign : {0u, 0x80000000u}) {
      const uint16_t bits = format().encode(std::bit_cast<float>(sign | 0x7f800000u | payload));
      EXPECT_TRUE(format().is_nan(bits)) << payload;
      EXPECT_EQ((bits & 0x8000) != 0, sign != 0) << payload;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Float16Test, testing::Values(0, 1),
                         [](const auto& info) { return info.param == 0 ? "half" : "bfloat16"; });

}  // namespace
}  // namespace bertie
