#include "cpu/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "bertie/base.h"

namespace bertie::cpu {
namespace {

class IsaTest : public testing::Test {
 protected:
  IsaTest() : before_(std::getenv("BERTIE_ISA") ? std::getenv("BERTIE_ISA") : "") {}
  ~IsaTest() override { setenv("BERTIE_ISA", before_.c_str(), 1); }
  std::string before_;
};

TEST_F(IsaTest, EachAvailableOneCanBeForced) {
  ASSERT_FALSE(available_isas().empty());
  EXPECT_EQ(available_isas().front().name, "generic");
  for (const Isa& isa : available_isas()) {
    setenv("BERTIE_ISA", std::string(isa.name).c_str(), 1);
    EXPECT_EQ(active_isa().kernels, isa.kernels) << isa.name;
  }
  setenv("BERTIE_ISA", "", 1);
  EXPECT_EQ(active_isa().kernels, available_isas().back().kernels);
}

TEST_F(IsaTest, UnknownNameIsAnError) {
  setenv("BERTIE_ISA", "sse9", 1);
  try {
    active_isa();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("sse9"), std::string::npos);
  }
}

TEST_F(IsaTest, EveryTableIsFull) {
  for (const Isa& isa : available_isas()) {
    const auto* entries = reinterpret_cast<void* const*>(isa.kernels);
    for (size_t i = 0; i < sizeof(IsaKernels) / sizeof(void*); ++i) EXPECT_NE(entries[i], nullptr) << isa.name << " entry " << i;
  }
}

}  // namespace
}  // namespace bertie::cpu
