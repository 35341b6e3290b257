#include "bertie/engine.h"
#include "bertie/model.h"

#include "base/error.h"
#include "formats/onnx_write.h"
#include "models/onnx_export.h"
#include "passes/pass.h"

namespace bertie {

void export_quantized_onnx(const Model& model, const std::string& path, const EngineOptions& quantization,
                           const OnnxExportOptions& options) {
  if (!quantization.calibration) fail(ErrorCode::invalid_argument, "{}: eight-bit layers are exported by a calibration", path);
  PassOptions passes = {{}, quantization.disabled_passes};
  // The network stays [batch, sequence], and its integers are told apart from what makes them.
  for (const char* name : {"remove_padding", "select_rows", "fuse_quantize_rows"}) passes.disabled.push_back(name);
  passes.precision = "int8";
  passes.calibration = quantization.calibration.get();
  for (const std::string& layer : quantization.layer_precision) passes.layer_precision.push_back(parse_layer_precision(layer));
  Network network = model.network();
  run_passes(network, passes);
  onnx::write_onnx(models::to_onnx(network, options, model.info().squeezed_outputs), path, options.largest_inline);
}

}  // namespace bertie
