// What every task needs of a Model: its tokenizer with the length rule, and an engine over the outputs wanted.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/engine.h"
#include "bertie/model.h"
#include "bertie/tasks.h"
#include "tasks/batch_runner.h"

namespace bertie::tasks {

// Texts to encodings no longer than the model takes. Thread-safe.
class TextEncoder {
 public:
  // max_length in tokens, special ones counted. Throws Error(not_found) where the model has no tokenizer.
  TextEncoder(const Model& model, int64_t max_length, bool truncate);
  // Throws Error(invalid_text): not UTF-8, no tokens, or longer than max_length and not to be cut.
  Encoding encode(std::string_view text, std::optional<std::string_view> text_pair = {}) const;
  Sequence sequence(const Encoding& encoding) const;
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  int64_t max_length() const { return max_length_; }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t max_length_;
  bool truncate_;
  bool has_types_;
};

// Longest text that the model and its tokenizer's configuration take, in tokens.
int64_t longest_text(const Model& model);

// Throws Error(unsupported) naming what the model's heads can do where `task` is not among them.
void require_task(const Model& model, std::string_view task);

// "LABEL_3" where the configuration names no third label, as Hugging Face.
std::string label_name(const std::vector<std::string>& labels, int32_t index);

// An engine over `outputs` of `network` (as a rule the model's own) and a runner over it.
BatchRunner make_runner(const Model& model, const Network& network, const TaskOptions& options, std::vector<std::string> outputs,
                        std::vector<std::string> select_rows = {});

}  // namespace bertie::tasks
