// `bertie run MODEL --input ... --output-dir DIR`: padded tensors in, every network output back in padded form.
#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/float_element.h"
#include "formats/npy.h"
#include "interrupt.h"
#include "npy_rows.h"
#include "output.h"
#include "run.h"

namespace bertie::cli {
namespace {

constexpr int64_t kElementsAtOnce = 16384;  // of an input: sequences times columns

template <typename T>
std::vector<float> widened(const TensorView& view) {
  return {view.as<T>(), view.as<T>() + view.shape.elements()};
}

std::vector<float> floats(const TensorView& view) {
  switch (view.dtype) {
    case DType::i8: return widened<int8_t>(view);
    case DType::u8:
    case DType::boolean: return widened<uint8_t>(view);
    case DType::i32: return widened<int32_t>(view);
    case DType::i64: return widened<int64_t>(view);
    case DType::f64: return widened<double>(view);
    case DType::f32: return widened<float>(view);
    default: break;
  }
  std::vector<float> values(static_cast<size_t>(view.shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float_element(view, i);
  return values;
}

// One output of the network on its way to a file.
class OutputFile {
 public:
  OutputFile(const Model& model, const std::string& name, const std::string& folder) {
    const auto& squeezed = model.info().squeezed_outputs;
    squeezed_ = std::find(squeezed.begin(), squeezed.end(), name) != squeezed.end();
    std::string file = name;
    std::replace(file.begin(), file.end(), '/', '_');
    path_ = (std::filesystem::path(folder) / (file + ".npy")).string();
  }

  // The whole of it.
  void write(const Tensor& tensor) const {
    const std::vector<float> values = floats(tensor.view());
    const Shape shape{std::span<const int64_t>(extents(tensor.shape))};
    write_npy(path_, {values.data(), DType::f32, shape});
  }

  // The next sequences.
  void append(const Tensor& tensor) {
    std::vector<int64_t> inner = extents(tensor.shape);
    inner.erase(inner.begin());
    if (!rows_) rows_.emplace(path_, std::move(inner));
    rows_->append(floats(tensor.view()));
  }
  void finish(int64_t sequences) { rows_->finish(sequences); }

 private:
  std::vector<int64_t> extents(const Shape& shape) const {
    std::vector<int64_t> extents(shape.begin(), shape.end());
    if (squeezed_) extents.pop_back();
    return extents;
  }

  std::string path_;
  bool squeezed_ = false;
  std::optional<NpyRows> rows_;
};

std::vector<NamedTensor> read_inputs(const std::vector<std::string>& assignments) {
  std::vector<NamedTensor> inputs;
  for (const std::string& assignment : assignments) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == assignment.size()) {
      throw UsageError("--input " + assignment + ": NAME=FILE.npy is needed");
    }
    inputs.push_back({assignment.substr(0, equals), {}, assignment.substr(equals + 1)});
  }
  return inputs;
}

// Sequences [first, last) of a tensor.
Tensor part(const Tensor& tensor, int64_t first, int64_t last) {
  const size_t bytes = tensor.bytes() / static_cast<size_t>(std::max<int64_t>(tensor.shape[0], 1));  // of one
  Tensor result = tensor;
  result.shape[0] = last - first;
  const auto* data = static_cast<const std::byte*>(tensor.data.get()) + static_cast<size_t>(first) * bytes;
  result.data = std::shared_ptr<const void>(tensor.data, data);
  return result;
}

// Sequences do not meet: a few at a time, so that memory does not grow with the batch.
void run_in_parts(TensorSession& session, const std::vector<NamedTensor>& inputs, std::vector<OutputFile>& files) {
  const Shape& shape = inputs.front().tensor.shape;
  const int64_t sequences = shape[0];
  const int64_t at_once = std::max<int64_t>(1, kElementsAtOnce * sequences / std::max<int64_t>(1, shape.elements()));
  int64_t first = 0;
  do {
    if (interrupted()) fail(ErrorCode::cancelled, "cancelled");
    const int64_t last = std::min(sequences, first + at_once);
    std::vector<NamedTensor> parts = inputs;
    for (NamedTensor& input : parts) input.tensor = part(input.tensor, first, last);
    const auto results = session.run(parts);
    for (size_t i = 0; i < results.size(); ++i) files[i].append(results[i].tensor);
    first = last;
  } while (first < sequences);
  for (OutputFile& file : files) file.finish(sequences);
}

}  // namespace

int run_tensors(const RunOptions& options) {
  options.common.start_log();
  std::vector<NamedTensor> inputs = read_inputs(options.inputs);
  const Model model = options.common.load_model();
  if (options.common.verbose) note_surplus(model.info());
  for (NamedTensor& input : inputs) input.tensor = read_npy(input.origin);
  TensorSession session(Engine::build(model.network(), options.common.engine_options(model)));

  std::error_code failed;
  std::filesystem::create_directories(options.output_dir, failed);
  if (failed) fail(ErrorCode::io, "cannot make the folder {}: {}", options.output_dir, failed.message());
  std::vector<OutputFile> files;
  for (const TensorSession::Port& output : session.outputs()) files.emplace_back(model, output.name, options.output_dir);

  const auto has_sequences = [&](const NamedTensor& input) {
    return input.tensor.shape.rank() > 0 && input.tensor.shape[0] == inputs.front().tensor.shape[0];
  };
  if (session.independent_sequences() && std::all_of(inputs.begin(), inputs.end(), has_sequences)) {
    run_in_parts(session, inputs, files);
    return 0;
  }
  const auto results = session.run(inputs);
  for (size_t i = 0; i < results.size(); ++i) files[i].write(results[i].tensor);
  return 0;
}

}  // namespace bertie::cli
