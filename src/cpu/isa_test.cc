#include "cpu/isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>
#include <sstream>
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

#if defined(__linux__) && defined(__x86_64__)
// Linux lists what the processor has and the system saves.
TEST_F(IsaTest, TheSetsAreThoseThatLinuxLists) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && !line.starts_with("flags")) {
  }
  if (!file) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  std::istringstream words(line);
  const std::set<std::string> flags{std::istream_iterator<std::string>(words), {}};
  const auto has = [&flags](std::initializer_list<const char*> names) {
    return std::all_of(names.begin(), names.end(), [&flags](const char* name) { return flags.contains(name); });
  };
  const bool avx2 = has({"avx2", "fma", "f16c"}), avx512 = avx2 && has({"avx512f", "avx512bw", "avx512vl", "avx512dq"});
  const bool vnni = avx512 && has({"avx512_vnni"}), bf16 = vnni && has({"avx512_bf16"});
  EXPECT_EQ(find_isa("avx2") != nullptr, avx2);
  EXPECT_EQ(find_isa("avx2_vnni") != nullptr, avx2 && has({"avx_vnni"}));
  EXPECT_EQ(find_isa("avx512") != nullptr, avx512);
  EXPECT_EQ(find_isa("avx512_vnni") != nullptr, vnni);
  EXPECT_EQ(find_isa("avx512_bf16") != nullptr, bf16);
  EXPECT_EQ(find_isa("amx") != nullptr, bf16 && has({"amx_tile", "amx_bf16", "amx_int8"}));
}
#endif

// But for products of bfloat16, which are the last entries: all of them are there, or none.
TEST_F(IsaTest, EveryTableIsFull) {
  for (const Isa& isa : available_isas()) {
    const bool bf16 = isa.name == "avx512_bf16" || isa.name == "amx";
    const auto* entries = reinterpret_cast<void* const*>(isa.kernels);
    for (size_t i = 0; i < sizeof(IsaKernels) / sizeof(void*); ++i)
      EXPECT_EQ(entries[i] != nullptr, bf16 || i < offsetof(IsaKernels, bf16_gemm) / sizeof(void*)) << isa.name << " entry " << i;
  }
}

}  // namespace
}  // namespace bertie::cpu
