// Flags that several subcommands share, and what they open.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bertie/engine.h"
#include "bertie/model.h"
#include "bertie/tasks.h"

namespace bertie::cli {

// What a subcommand does once the command line has been read; returns the exit status.
using Action = std::function<int()>;

// The command line is well-formed, but its flags do not go together: exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct CommonOptions {
  std::string model;
  std::vector<std::string> plugins;
  std::string tokenizer;
  std::string device = "cpu";
  std::string precision;    // as given; empty: as used_precision says
  std::string calibration;  // a file
  std::vector<std::string> layer_precision;
  int threads = 0;
  std::string mode = "latency";
  bool pin = false;
  std::vector<std::string> disabled_passes;
  bool tune = false;
  std::string tuning_cache;
  bool json = false;
  bool verbose = false;

  void add_model(CLI::App& command, bool required = true);
  void add_plugins(CLI::App& command);
  void add_tokenizer(CLI::App& command);
  void add_device(CLI::App& command);
  // --mode and --pin, of what runs batch after batch.
  void add_mode(CLI::App& command);
  void add_threads(CLI::App& command);
  void add_output(CLI::App& command);

  // Sends log lines to standard error under --verbose.
  void start_log() const;
  void load_plugins() const;
  // Plugins first: the model may need their ops.
  Model load_model() const;
  // The model's, or that of --tokenizer; of a folder nothing else is read.
  std::shared_ptr<const Tokenizer> load_tokenizer() const;
  // Device, precision, threads and passes; `info` gives the position rule.
  EngineOptions engine_options(const Model& model) const;
  void copy_to(TaskOptions& options, const Model& model) const;

 private:
  // What an engine and a task have in common.
  template <typename Options>
  void set(Options& options, const Model& model) const;
  // Of --tuning-cache or --tune; nullptr: neither was given.
  std::shared_ptr<KernelTimings> timings() const;
};

// The precision of a run by what was given, which may be nothing: then that in which an engine file holds its layers, int8 for an ONNX file
// whose activations are quantised and beside a calibration, else fp32. Throws Error(invalid_argument) where such an engine file is wanted
// otherwise.
std::string used_precision(const std::string& given, const std::string& calibration, const Model& model);

// nullptr where `path` is empty. Throws Error(invalid_argument) where it was made for another model, and what Calibration::load throws.
std::shared_ptr<const Calibration> load_calibration(const std::string& path, const Model& model);

// A text option that may be given several times, and whose values are never taken apart.
CLI::Option* add_texts(CLI::App& command, const std::string& flag, std::vector<std::string>& values,
                       const std::string& description);

// The tensors of the files that the model does not use, for --verbose.
void note_surplus(const ModelInfo& info);

void add_run(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_build(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_export(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_calibrate(CLI::App& app, Action& action);
void add_compare(CLI::App& app, Action& action);
void add_devices(CLI::App& app, Action& action);

}  // namespace bertie::cli
