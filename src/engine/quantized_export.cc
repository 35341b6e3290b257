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
  PassOptions passes = pass_options(quantization);
  passes.precision = "int8";
  Network network = model.network();
  run_logical_passes(network, passes);
  hold_precisions(network, passes);
  onnx::write_onnx(models::to_onnx(network, options, model.info().squeezed_outputs), path, options.largest_inline);
}

}  // namespace bertie
