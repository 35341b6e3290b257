// Any bytes as a safetensors file: an Error or tensors all of whose bytes can be read.
#include <vector>

#include "bertie/base.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto owner = std::make_shared<std::vector<uint8_t>>(data, data + size);
    const bertie::TensorMap tensors = bertie::parse_safetensors(std::as_bytes(std::span(*owner)), owner, "fuzz");
    unsigned sum = 0;
    for (const auto& [name, stored] : tensors) {
      if (!stored.tensor) continue;
      const auto* bytes = static_cast<const uint8_t*>(stored.tensor->data.get());
      for (size_t i = 0; i < stored.tensor->bytes(); ++i) sum += bytes[i];
    }
    volatile unsigned keep = sum;
    static_cast<void>(keep);
  } catch (const bertie::Error&) {
  }
  return 0;
}
