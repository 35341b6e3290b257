// Any bytes as an ONNX file: an Error, or a network that verifies.
#include <cstdint>
#include <span>

#include "bertie/base.h"
#include "formats/onnx_file.h"
#include "models/onnx_import.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    bertie::onnx::Model model = bertie::onnx::parse_onnx(std::as_bytes(std::span(data, size)), "fuzz", std::nullopt);
    unsigned sum = 0;
    for (const auto& [name, tensor] : model.graph.initializers) {
      const auto* bytes = static_cast<const uint8_t*>(tensor.data.get());
      for (size_t i = 0; i < tensor.bytes(); ++i) sum += bytes[i];
    }
    volatile unsigned keep = sum;
    static_cast<void>(keep);
    bertie::models::import_onnx(std::move(model));
  } catch (const bertie::Error&) {
  }
  return 0;
}
