#include "tasks/task_model.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "base/error.h"

namespace bertie::tasks {

TextEncoder::TextEncoder(const Model& model, int64_t max_length, bool truncate)
    : tokenizer_(model.tokenizer()), max_length_(max_length), truncate_(truncate), has_types_(model.info().type_vocabulary > 1) {}

Encoding TextEncoder::encode(std::string_view text, std::optional<std::string_view> text_pair) const {
  Encoding encoding = text_pair ? tokenizer_->encode_pair(text, *text_pair) : tokenizer_->encode(text);
  if (encoding.size() == 0) fail(ErrorCode::invalid_text, "the text has no tokens");
  if (static_cast<int64_t>(encoding.size()) <= max_length_) return encoding;
  if (!truncate_) {
    fail(ErrorCode::invalid_text, "the text has {} tokens, more than the {} that the model takes (--truncate cuts it)",
         encoding.size(), max_length_);
  }
  Truncation truncation;
  truncation.max_length = static_cast<size_t>(max_length_);
  return tokenizer_->encode_windows(text, text_pair, truncation).front();
}

Sequence TextEncoder::sequence(const Encoding& encoding) const {
  Sequence sequence;
  sequence.ids = encoding.ids;
  sequence.type_ids = has_types_ ? encoding.type_ids : std::vector<int32_t>(encoding.ids.size(), 0);
  return sequence;
}

int64_t longest_text(const Model& model) { return model.info().max_positions; }

void require_task(const Model& model, std::string_view task) {
  const std::vector<std::string>& tasks = model.info().tasks;
  if (std::find(tasks.begin(), tasks.end(), task) != tasks.end()) return;
  const std::string& architecture = model.info().architecture;
  fail(ErrorCode::unsupported, "{} ({}) has no head for {}; it can do: {}", model.info().source,
       architecture.empty() ? model.info().family : architecture, task, fmt::join(tasks, ", "));
}

std::string label_name(const std::vector<std::string>& labels, int32_t index) {
  const auto at = static_cast<size_t>(index);
  return at < labels.size() && !labels[at].empty() ? labels[at] : fmt::format("LABEL_{}", index);
}

BatchRunner make_runner(const Model& model, const Network& network, const TaskOptions& options, std::vector<std::string> outputs,
                        std::vector<std::string> select_rows) {
  EngineOptions engine;
  engine.device = options.device;
  engine.precision = options.precision;
  engine.layer_precision = options.layer_precision;
  engine.calibration = options.calibration;
  engine.threads = options.threads;
  engine.mode = options.mode;
  engine.pin = options.pin;
  engine.disabled_passes = options.disabled_passes;
  engine.outputs = std::move(outputs);
  engine.select_rows = std::move(select_rows);
  engine.timings = options.timings ? options.timings : model.timings();
  engine.tune = options.tune;
  return BatchRunner(Engine::build(network, engine), options.token_budget, model.info().max_positions);
}

}  // namespace bertie::tasks
