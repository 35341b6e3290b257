// A library whose memory is the host's and whose kernels do nothing, for tests of the host side without a GPU.
#pragma once

#include <cstdlib>
#include <cstring>
#include <span>

#include "cuda/cuda_device.h"

namespace bertie::cuda {

inline int fake_capability = 0;  // of the device that is opened next

template <typename Params>
constexpr BertieCudaLauncher fake_launcher(const char* name) {
  return {name, sizeof(Params), [](const void*, int32_t, void*) { return 0; }};
}

inline BertieCudaApi fake_api(std::span<const BertieCudaLauncher> launchers) {
  BertieCudaApi api{};
  api.error_text = [](int32_t) { return "the library's words"; };
  api.versions = [](int32_t* driver, int32_t* toolkit) {
    *driver = *toolkit = 13000;
    return 0;
  };
  api.device_count = [](int32_t* count) {
    *count = 1;
    return 0;
  };
  api.open_device = [](int32_t, BertieCudaProperties* properties) {
    properties->major = fake_capability / 10;
    properties->minor = fake_capability % 10;
    properties->multiprocessors = 100;
    return 0;
  };
  api.allocate = [](int32_t, size_t bytes, void** memory) {
    *memory = std::malloc(bytes);
    return 0;
  };
  api.release = [](int32_t, void* memory) { std::free(memory); };
  api.make_stream = [](int32_t, void**) { return 0; };
  api.release_stream = [](int32_t, void*) {};
  api.copy = [](void* to, const void* from, size_t bytes, int32_t, void*) {
    std::memcpy(to, from, bytes);
    return 0;
  };
  api.synchronize = [](void*) { return 0; };
  api.launchers = launchers.data();
  api.launcher_count = static_cast<int32_t>(launchers.size());
  return api;
}

}  // namespace bertie::cuda
