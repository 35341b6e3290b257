// `bertie run MODEL --input ... --output-dir DIR`: padded tensors in, every network output back in padded form.
#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "interrupt.h"
#include "npy_rows.h"
#include "output.h"
#include "padded_inputs.h"
#include "run.h"

namespace bertie::cli {
namespace {

constexpr int64_t kTokensAtOnce = 4096;

// One output of the network on its way to a file.
class OutputFile {
 public:
  OutputFile(const Model& model, const Engine& engine, const Network::Output& output, const std::string& folder, int64_t sequence)
      : name_(output.name), sequence_(sequence) {
    const SymbolicShape& shape = engine.network().value(output.value).shape;
    if (shape.empty() || engine.network().value(output.value).dtype != DType::f32) {
      fail(ErrorCode::unsupported, "output {} is not a float tensor by token or by sequence", name_);
    }
    per_token_ = shape[0].symbol == "tokens";
    std::vector<int64_t> inner;
    if (per_token_) inner.push_back(sequence);
    for (size_t axis = 1; axis < shape.size(); ++axis) {
      inner.push_back(shape[axis].size);
      width_ *= shape[axis].size;
    }
    const auto& squeezed = model.info().squeezed_outputs;
    if (std::find(squeezed.begin(), squeezed.end(), name_) != squeezed.end()) inner.pop_back();
    std::string file = name_;
    std::replace(file.begin(), file.end(), '/', '_');
    rows_.emplace((std::filesystem::path(folder) / (file + ".npy")).string(), std::move(inner));
  }

  // Rows [first, last) of the padded batch, from the packed result of the run that computed them.
  void append(const PaddedInputs& inputs, int64_t first, int64_t last, const Session& session) {
    const TensorView view = session.output(name_);
    const std::span<const float> values(view.as<float>(), static_cast<size_t>(view.shape.elements()));
    const auto width = static_cast<size_t>(width_);
    size_t next = 0;
    const auto append_one = [&](bool computed) {
      if (computed)
        rows_->append(values.subspan(width * next++, width));
      else
        rows_->append_constant(0, width_);
    };
    for (int64_t row = first; row < last; ++row) {
      if (!per_token_) append_one(inputs.attended(row) > 0);
      for (int64_t column = 0; per_token_ && column < sequence_; ++column) append_one(inputs.is_attended(row, column));
    }
  }

  void finish(int64_t rows) { rows_->finish(rows); }

 private:
  std::string name_;
  int64_t sequence_;
  int64_t width_ = 1;
  bool per_token_ = false;
  std::optional<NpyRows> rows_;
};

// The end of the next group of rows: as many as make kTokensAtOnce tokens, at least one.
int64_t group_end(const PaddedInputs& inputs, int64_t first) {
  int64_t tokens = 0, row = first;
  for (; row < inputs.batch(); ++row) {
    tokens += inputs.attended(row);
    if (row > first && tokens > kTokensAtOnce) break;
  }
  return row;
}

}  // namespace

int run_tensors(const RunOptions& options) {
  options.common.start_log();
  for (const std::string& assignment : options.inputs) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == assignment.size()) {
      throw UsageError("--input " + assignment + ": NAME=FILE.npy is needed");
    }
  }
  const Model model = options.common.load_model();
  if (options.common.verbose) note_surplus(model.info());
  const PaddedInputs inputs(model, options.inputs);
  const auto engine = Engine::build(model.network(), options.common.engine_options());

  std::error_code failed;
  std::filesystem::create_directories(options.output_dir, failed);
  if (failed) fail(ErrorCode::io, "cannot make the folder {}: {}", options.output_dir, failed.message());
  std::vector<OutputFile> files;
  for (const Network::Output& output : engine->network().outputs()) {
    files.emplace_back(model, *engine, output, options.output_dir, inputs.sequence());
  }

  std::optional<Session> session;
  for (int64_t first = 0; first < inputs.batch();) {
    if (interrupted()) fail(ErrorCode::cancelled, "cancelled");
    const int64_t last = group_end(inputs, first);
    const PackedRows rows(inputs, first, last);
    SessionLimits limits{rows.tokens(), rows.sequences(), std::max(rows.longest(), inputs.sequence()), 0};
    if (session) {
      const SessionLimits& have = session->limits();
      limits.tokens = std::max(limits.tokens, have.tokens);
      limits.sequences = std::max(limits.sequences, have.sequences);
      if (limits.tokens > have.tokens || limits.sequences > have.sequences) session.reset();
    }
    if (!session) session.emplace(engine, limits);
    session->run(rows.batch());
    for (OutputFile& file : files) file.append(inputs, first, last, *session);
    first = last;
  }
  for (OutputFile& file : files) file.finish(inputs.batch());
  return 0;
}

}  // namespace bertie::cli
