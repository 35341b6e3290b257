// Whether these tests can run here.
#pragma once

#include <gtest/gtest.h>

#include "bertie/base.h"
#include "cuda/backend.h"

namespace bertie::test {

// Skips every test, with the reason, where there is no GPU.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    try {
      device = cuda_backend().open("cuda");
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
  std::shared_ptr<Device> device;
};

}  // namespace bertie::test
