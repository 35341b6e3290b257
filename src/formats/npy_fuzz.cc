// Any bytes as a .npy file: an Error, or an array that is written and read back unchanged.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "bertie/base.h"
#include "formats/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto owner = std::make_shared<std::vector<uint8_t>>(data, data + size);
    const bertie::Tensor tensor = bertie::parse_npy(std::as_bytes(std::span(*owner)), owner, "fuzz");
    const auto written = std::make_shared<std::string>(bertie::format_npy(tensor.view()));
    const bertie::Tensor again = bertie::parse_npy(std::as_bytes(std::span(*written)), written, "fuzz");
    const bool same = again.dtype == tensor.dtype && again.shape == tensor.shape &&
                      (tensor.bytes() == 0 || std::memcmp(again.data.get(), tensor.data.get(), tensor.bytes()) == 0);
    if (!same) std::abort();
  } catch (const bertie::Error&) {
  }
  return 0;
}
