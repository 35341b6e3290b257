#include "cpu/peak.h"

#include <gtest/gtest.h>

#include <vector>

namespace bertie::cpu {
namespace {

// Loose limits: wrong units or work that the compiler removed are off by orders of magnitude.
TEST(Peak, MultiplyAddsArePlausible) {
  ThreadPool pool(1);
  for (const Isa& isa : available_isas()) {
    const double flops = measure_flops(isa, pool);
    EXPECT_GT(flops, 1e8) << isa.name;     // a tenth of an operation a cycle at 1 GHz (sanitizers included)
    EXPECT_LT(flops, 6.4e11) << isa.name;  // two 16-lane units at 10 GHz
  }
}

TEST(Peak, Int8OperationsArePlausible) {
  ThreadPool pool(1);
  for (const Isa& isa : available_isas()) {
    const double operations = measure_int8_ops(isa, pool);
    EXPECT_GT(operations, 1e8) << isa.name;
    EXPECT_LT(operations, 2e13) << isa.name;  // 2048 a cycle, at 10 GHz
  }
}

TEST(Peak, Bf16OperationsArePlausible) {
  ThreadPool pool(1);
  for (const Isa& isa : available_isas()) {
    if (isa.kernels->bf16_peak == nullptr) continue;
    const double flops = measure_bf16_flops(isa, pool);
    EXPECT_GT(flops, 1e9) << isa.name;
    EXPECT_LT(flops, 1e13) << isa.name;  // 1024 a cycle, at 10 GHz
    EXPECT_EQ(isa.kernels->bf16_peak(10), 10 * isa.kernels->bf16_peak(1)) << isa.name;
  }
}

TEST(Peak, ReadsArePlausible) {
  ThreadPool pool(2);
  const double bandwidth = measure_read_bandwidth(available_isas().back(), pool);
  EXPECT_GT(bandwidth, 1e8);
  EXPECT_LT(bandwidth, 4e12);
}

TEST(Peak, ReportsTheWorkItDid) {
  for (const Isa& isa : available_isas()) {
    float sink = 0;
    const int64_t one = isa.kernels->f32_peak(1, &sink), ten = isa.kernels->f32_peak(10, &sink);
    EXPECT_EQ(ten, 10 * one) << isa.name;
    EXPECT_EQ(one % 32, 0) << isa.name;
    EXPECT_EQ(isa.kernels->int8_peak(10), 10 * isa.kernels->int8_peak(1)) << isa.name;
    std::vector<float> ones(128, 1.0f);
    isa.kernels->read_peak(ones.data(), 128, &sink);
    EXPECT_EQ(sink, 128.0f) << isa.name;
  }
}

}  // namespace
}  // namespace bertie::cpu
