// `bertie export`: a model as an ONNX file of standard ops, with inputs and outputs to try it by.
#include <memory>
#include <string>

#include "export_demo.h"
#include "options.h"
#include "output.h"

namespace bertie::cli {
namespace {

struct ExportOptions {
  CommonOptions common;
  std::string file;
  std::string demo;
  OnnxExportOptions onnx;
};

int export_model(const ExportOptions& options) {
  options.common.start_log();
  const Model model = options.common.load_model();
  if (options.common.verbose) note_surplus(model.info());
  if (options.common.calibration.empty()) {
    if (!options.common.layer_precision.empty()) throw UsageError("--layer-precision needs --calibration");
    export_onnx(model, options.file, options.onnx);
  } else {
    export_quantized_onnx(model, options.file, options.common.engine_options(model), options.onnx);
  }
  if (!options.demo.empty()) write_demo(options.common, model, options.demo, options.onnx.position_ids);
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App& command = *app.add_subcommand("export", "Write a model as ONNX, for other runtimes");
  options->common.add_model(command);
  command.add_option("-o,--output", options->file, "The .onnx file; weights over 1.5 GB go to FILE.data beside it")->required();
  command.add_option("--opset", options->onnx.opset, "ONNX operator set, 11 to 23 (default 17)")->check(CLI::Range(11, 23));
  command.add_option("--calibration", options->common.calibration,
                     "Write linear layers in eight bits, QuantizeLinear by these scales (from `bertie calibrate`); opset 13 on");
  add_texts(command, "--layer-precision", options->common.layer_precision,
            "With --calibration, PATTERN=P: the precision of layers by name; may be given several times");
  command.add_flag("--position-ids", options->onnx.position_ids, "Take position_ids as an input instead of computing them");
  command.add_option("--demo", options->demo, "Folder for sample inputs and their outputs, as NAME.npy");
  options->common.add_tokenizer(command);
  command.add_flag("--verbose", options->common.verbose, "Log lines and unused tensors on standard error");
  command.callback([options, &action] { action = [options] { return export_model(*options); }; });
}

}  // namespace bertie::cli
