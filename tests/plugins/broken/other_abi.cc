// A plugin of a later interface: only the first field may be read.
#include <cstdint>

struct BertiePlugin;

extern "C" __attribute__((visibility("default"))) const BertiePlugin* bertie_plugin() {
  alignas(8) static const uint32_t abi = 4000;
  return reinterpret_cast<const BertiePlugin*>(&abi);
}
