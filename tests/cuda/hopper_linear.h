// What tests of linear kernels by their launchers share.
#pragma once

#include <random>

#include "base/float16.h"
#include "cuda/cuda_device.h"
#include "tests/cuda/gpu.h"

namespace bertie::test {

using cuda::CudaDevice;

inline std::vector<float> random_floats(std::mt19937& random, int64_t count, float scale) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

class CudaLinear : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    own = std::static_pointer_cast<CudaDevice>(device);
    if (own->capability() != 90) GTEST_SKIP() << "wgmma is Hopper's alone";
    stream = own->make_stream();
  }

  std::shared_ptr<CudaDevice> own;
  std::unique_ptr<Stream> stream;
};

// As they lie on the device.
inline std::vector<double> rounded(const std::vector<float>& values, DType dtype) {
  std::vector<double> result;
  for (const float value : values) {
    const uint16_t bits = dtype == DType::f16 ? float_to_f16(value) : float_to_bf16(value);
    result.push_back(dtype == DType::f16 ? f16_to_float(bits) : bf16_to_float(bits));
  }
  return result;
}

constexpr int32_t kStep = 7, kNoOverflow = 100;

// `numbers`: how many rows are live, and the first step that overflows.
template <typename Params>
void set_numbers(Params& params, const DeviceBuffer& numbers) {
  params.live_rows = reinterpret_cast<const int32_t*>(numbers.data());
  params.overflow = reinterpret_cast<int32_t*>(numbers.data()) + 1;
  params.step = kStep;
}

}  // namespace bertie::test
