#include "calibration/paired_run.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tasks/task_model.h"

namespace bertie::calibration {

SideRunner::SideRunner(const Side& side, const Network& network, std::vector<std::string> outputs,
                       std::vector<std::string> select_rows)
    : side_(side),
      has_types_(side.model.info().type_vocabulary > 1),
      runner_(tasks::make_runner(side.model, network, side.options, std::move(outputs), std::move(select_rows))) {}

tasks::Sequence SideRunner::sequence(const Encoding& encoding) const {
  return {encoding.ids, has_types_ ? encoding.type_ids : std::vector<int32_t>(encoding.size(), 0), {}};
}

void SideRunner::run(std::span<const tasks::Sequence> sequences, std::span<const size_t> lines,
                     const tasks::BatchRunner::Read& read, const Cancelled& cancelled) {
  std::vector<const tasks::Sequence*> pointers;
  pointers.reserve(sequences.size());
  for (const tasks::Sequence& sequence : sequences) pointers.push_back(&sequence);
  const auto failed = [&](size_t index, const Error& error) {
    fail(error.code(), "line {}: {}: {}", lines[index], side_.name, error.what());
  };
  if (!runner_.run(pointers, read, failed, cancelled)) throw Error(ErrorCode::cancelled, "cancelled");
}

void SideRunner::require_finite(std::span<const float> values, size_t line) const {
  if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) fail_not_finite(line);
}

void SideRunner::fail_not_finite(size_t line) const {
  fail(ErrorCode::invalid_text, "line {}: {} gives results that are not finite", line, side_.name);
}

void for_each_group(std::span<const EncodedText> texts, size_t budget, const std::function<size_t(const EncodedText&)>& cost,
                    const std::function<void(std::span<const EncodedText>)>& run) {
  for (size_t begin = 0; begin < texts.size();) {
    size_t end = begin;
    for (size_t sum = 0; end < texts.size(); ++end) {
      sum += cost(texts[end]);
      if (end > begin && sum > budget) break;
    }
    run(texts.subspan(begin, end - begin));
    begin = end;
  }
}

}  // namespace bertie::calibration
