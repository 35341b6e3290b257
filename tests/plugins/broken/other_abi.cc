// A plugin of a later interface: only the first field may be read.
#include <cstdint>

extern "C" __attribute__((visibility("default"))) const void* bertie_plugin() {
  static const uint32_t abi = 4000;
  return &abi;
}
