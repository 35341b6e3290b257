#include "cuda/library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "bertie/base.h"
#include "cuda/cuda_device.h"

namespace bertie::cuda {
namespace {

using testing::HasSubstr;

// What a call failed with.
template <typename Body>
std::string error_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// A driver, GPUs and memory as a test wants them.
struct FakeMachine {
  int32_t driver = 13000, toolkit = 13000, count_status = 0, count = 1, open_status = 0, allocate_status = 0;
};
FakeMachine machine;

BertieCudaApi fake_api() {
  BertieCudaApi api{};
  api.abi = BERTIE_CUDA_ABI;
  api.size = sizeof(BertieCudaApi);
  static const std::string own_version(version());
  api.version = own_version.c_str();
  api.architectures = "90a";
  api.error_text = [](int32_t) { return "the library's words"; };
  api.versions = [](int32_t* driver, int32_t* toolkit) {
    *driver = machine.driver;
    *toolkit = machine.toolkit;
    return 0;
  };
  api.device_count = [](int32_t* count) {
    *count = machine.count;
    return machine.count_status;
  };
  api.open_device = [](int32_t, BertieCudaProperties* properties) {
    std::strcpy(properties->name, "Fake 1");
    properties->major = 7;
    properties->minor = 5;
    return machine.open_status;
  };
  api.allocate = [](int32_t, size_t, void**) { return machine.allocate_status; };
  api.memory = [](int32_t, size_t* free, size_t* total) {
    *free = 1'500'000'000;
    *total = 80'000'000'000;
    return 0;
  };
  return api;
}

std::string open_error(const FakeMachine& wanted, int index = 0) {
  machine = wanted;
  static const BertieCudaApi api = fake_api();
  return error_of([&] { CudaDevice::open(api, index); });
}

TEST(CudaLibraryTest, SaysWhatAMachineLacks) {
  EXPECT_EQ(open_error({.driver = 0}), "device cuda:0: there is no NVIDIA driver on this machine");
  EXPECT_EQ(open_error({.driver = 12020}),
            "device cuda:0: the NVIDIA driver is too old: it knows CUDA 12.2, this build needs 13.0");
  EXPECT_EQ(open_error({.count_status = BERTIE_CUDA_DRIVER_TOO_OLD}),
            "device cuda:0: the NVIDIA driver is too old: it knows CUDA 13.0, this build needs 13.0");
  EXPECT_EQ(open_error({.count_status = BERTIE_CUDA_NO_DEVICE}), "device cuda:0: the NVIDIA driver shows no GPU to this process");
  EXPECT_EQ(open_error({.count = 0}), "device cuda:0: the NVIDIA driver shows no GPU to this process");
  EXPECT_EQ(open_error({.count = 2}, 2), "device cuda:2: this machine has 2 GPUs");
  EXPECT_EQ(open_error({.open_status = BERTIE_CUDA_NO_KERNEL_IMAGE}),
            "device cuda:0: Fake 1 has compute capability 7.5, this build is for 90a");
  EXPECT_EQ(open_error({.open_status = 46}), "device cuda:0: the library's words");
  EXPECT_EQ(open_error({}), "");
}

TEST(CudaLibraryTest, OutOfMemoryNamesWhatWasWantedAndWhatThereIs) {
  machine = {.allocate_status = BERTIE_CUDA_OUT_OF_MEMORY};
  static const BertieCudaApi api = fake_api();
  const auto device = CudaDevice::open(api, 0);
  try {
    device->allocate(2'000'000'000, "the weights");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
    EXPECT_STREQ(error.what(), "device cuda:0: the weights needs 2.000 GB: 1.500 of 80.000 GB are free");
  }
}

TEST(CudaLibraryTest, RefusesOtherBuilds) {
  BertieCudaApi api = fake_api();
  EXPECT_EQ(api_fault(&api, "x.so"), "");
  EXPECT_EQ(api_fault(nullptr, "x.so"), "'x.so' is not bertie's CUDA library");
  api.version = "9.9.9";
  EXPECT_THAT(api_fault(&api, "x.so"), HasSubstr("'x.so' is of bertie 9.9.9, this program of "));
  api.abi = 77;
  EXPECT_THAT(api_fault(&api, "x.so"), HasSubstr("'x.so' has interface 77, this program "));
}

class NamedLibrary {
 public:
  explicit NamedLibrary(const std::string& path) {
    if (const char* before = std::getenv(kName)) before_ = before;
    setenv(kName, path.c_str(), 1);
  }
  ~NamedLibrary() { before_ ? setenv(kName, before_->c_str(), 1) : unsetenv(kName); }

 private:
  static constexpr const char* kName = "BERTIE_CUDA_LIBRARY";
  std::optional<std::string> before_;
};

TEST(CudaLibraryTest, NamesTheFileThatCannotBeLoaded) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "bertie_library_test.so";
  {
    const NamedLibrary named("/no/such/library.so");
    EXPECT_EQ(error_of([] { library(); }), "device cuda: BERTIE_CUDA_LIBRARY names '/no/such/library.so': there is no such file");
  }
  std::ofstream(file) << "no library";
  const NamedLibrary named(file.string());
  EXPECT_THAT(error_of([] { library(); }), HasSubstr("bertie_library_test.so' could not be loaded: "));
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace bertie::cuda
