// The same texts through two engines, a group at a time, so that memory does not grow with their number.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "calibration/compare.h"
#include "calibration/encode_texts.h"
#include "tasks/batch_runner.h"

namespace bertie::calibration {

// Runs an engine over sequences of texts, and names the text where one fails.
class SideRunner {
 public:
  SideRunner(const Side& side, const Network& network, std::vector<std::string> outputs, std::vector<std::string> select_rows);

  tasks::Sequence sequence(const Encoding& encoding) const;
  // lines: of the text that each sequence is from. Throws Error(invalid_text), Error(cancelled).
  void run(std::span<const tasks::Sequence> sequences, std::span<const size_t> lines, const tasks::BatchRunner::Read& read,
           const Cancelled& cancelled);
  // Throws Error(invalid_text) where a number is not finite.
  void require_finite(std::span<const float> values, size_t line) const;
  [[noreturn]] void fail_not_finite(size_t line) const;

 private:
  const Side& side_;
  bool has_types_;
  tasks::BatchRunner runner_;
};

// Calls `run` with groups of neighbouring texts whose costs sum to at most `budget`; a text that costs more is a group by itself.
void for_each_group(std::span<const EncodedText> texts, size_t budget, const std::function<size_t(const EncodedText&)>& cost,
                    const std::function<void(std::span<const EncodedText>)>& run);

}  // namespace bertie::calibration
