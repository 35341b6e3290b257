// `bertie build`: a model to an engine file.
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "interrupt.h"
#include "options.h"
#include "output.h"
#include "progress.h"

namespace bertie::cli {
namespace {

struct BuildOptions {
  CommonOptions common;
  std::string output;
};

int build(const BuildOptions& options) {
  options.common.start_log();
  const Model model = options.common.load_model();
  if (options.common.verbose) note_surplus(model.info());
  Progress progress(0, false);
  save_engine(model, options.output, options.common.engine_options(model), [&](uint64_t done, uint64_t total) {
    if (interrupted()) fail(ErrorCode::cancelled, "{}: cancelled", options.output);
    progress.update_share(options.output, done, total);
  });
  return 0;
}

}  // namespace

void add_build(CLI::App& app, Action& action) {
  auto options = std::make_shared<BuildOptions>();
  CLI::App& command = *app.add_subcommand("build", "Build a model and keep it as an engine file that runs alone");
  options->common.add_model(command);
  command.add_option("-o,--output", options->output, "The engine file, FILE.bertie")->required();
  options->common.add_tokenizer(command);
  options->common.add_device(command);
  command.add_flag("--verbose", options->common.verbose, "Each pass and each kernel choice on standard error");
  command.callback([options, &action] { action = [options] { return build(*options); }; });
}

}  // namespace bertie::cli
