#include "calibration/masked_words.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>

#include "base/error.h"
#include "tasks/task_model.h"

namespace bertie::calibration {

WordScore score_word(std::span<const float> logits, int32_t stood) {
  double best = -std::numeric_limits<double>::infinity(), second = best, sum = 0;
  WordScore score;
  for (size_t id = 0; id < logits.size(); ++id) {
    const double logit = logits[id];
    if (logit > best) {
      second = best;
      best = logit;
      score.best = static_cast<int32_t>(id);
    } else if (logit > second) {
      second = logit;
    }
  }
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - best);
  score.lead = (1 - std::exp(second - best)) / sum;
  score.loss = std::log(sum) + best - logits[static_cast<size_t>(stood)];
  return score;
}

std::vector<int32_t> mask_some_words(const Model& model, const EncodedText& text, uint64_t every, uint64_t seed,
                                     tasks::Sequence& sequence) {
  constexpr uint64_t kLineFactor = 0x9e3779b97f4a7c15u;  // 2^64 by the golden ratio: neighbouring lines' seeds lie far apart
  const std::optional<int32_t> mask = model.tokenizer()->mask_id();
  std::vector<int32_t> places, stood;
  for (size_t at = 0; at < sequence.ids.size(); ++at)
    if (text.encoding.special_tokens_mask[at] == 0) places.push_back(static_cast<int32_t>(at));
  if (!mask || every == 0 || places.empty()) return stood;
  std::mt19937_64 random(seed ^ (text.line * kLineFactor));
  // The first lies anywhere in the first stretch, or in a shorter text.
  for (size_t at = random() % std::min<uint64_t>(every, places.size()); at < places.size();
       at += 1 + random() % (2 * every - 1)) {
    stood.push_back(std::exchange(sequence.ids[static_cast<size_t>(places[at])], *mask));
    sequence.rows.push_back(places[at]);
  }
  return stood;
}

MaskedWords::MaskedWords(const Side& side)
    : runner_((tasks::require_task(side.model, "fill-mask"), side), side.model.network(), {side.model.info().output("logits")},
              {side.model.info().output("logits")}),
      logits_(side.model.info().output("logits")) {
  const std::optional<int32_t> mask = side.model.tokenizer()->mask_id();
  if (!mask) fail(ErrorCode::unsupported, "{}: the tokenizer names no mask token", side.name);
  mask_ = *mask;
}

std::vector<int32_t> MaskedWords::places(const Encoding& encoding) const {
  std::vector<int32_t> places;
  for (size_t at = 0; at < encoding.size(); ++at) {
    if (encoding.special_tokens_mask[at] == 0 && encoding.ids[at] != mask_) places.push_back(static_cast<int32_t>(at));
  }
  return places;
}

std::vector<WordScore> MaskedWords::run(std::span<const EncodedText> texts, const Cancelled& cancelled) {
  std::vector<tasks::Sequence> sequences;
  std::vector<int32_t> stood;
  std::vector<size_t> lines;
  for (const EncodedText& text : texts) {
    const tasks::Sequence whole = runner_.sequence(text.encoding);
    for (const int32_t place : places(text.encoding)) {
      tasks::Sequence& sequence = sequences.emplace_back(whole);
      stood.push_back(std::exchange(sequence.ids[static_cast<size_t>(place)], mask_));
      sequence.rows = {place};
      lines.push_back(text.line);
    }
  }
  std::vector<WordScore> scores(sequences.size());
  const auto read = [&](size_t index, const tasks::SequenceOutputs& outputs) {
    scores[index] = score_word(outputs.values(logits_), stood[index]);
    if (!std::isfinite(scores[index].lead) || !std::isfinite(scores[index].loss)) runner_.fail_not_finite(lines[index]);
  };
  runner_.run(sequences, lines, read, cancelled);
  return scores;
}

}  // namespace bertie::calibration
