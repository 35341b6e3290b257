#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "bertie/tasks.h"
#include "tasks/batcher.h"
#include "tasks/characters.h"
#include "tasks/task_model.h"

namespace bertie {
namespace {

using tasks::SequenceOutputs;

constexpr const char* kBest = "best_words";  // the output's name

struct FillMaskWork : tasks::Work {
  Encoding encoding;
  struct Best {
    std::vector<int32_t> ids;
    std::vector<float> scores;
  };
  std::vector<Best> best;  // one a mask
};

// The model's network with what is read of each row of logits.
Network with_best_words(const Model& model, int top_k, const std::string& output) {
  Network network = model.network();
  const std::string name = model.info().output("logits");
  const auto outputs = network.outputs();
  const auto logits = std::find_if(outputs.begin(), outputs.end(), [&](const Network::Output& own) { return own.name == name; });
  const Dim vocabulary = network.value(logits->value).shape.back();
  int64_t k = std::max(top_k, 1);
  if (vocabulary.is_fixed()) k = std::min(k, vocabulary.size);
  network.add_output(output, network.add_node("top_k_log_sum_exp", {logits->value}, {{"k", k}}, output)[0]);
  return network;
}

class FillMaskDriver final : public tasks::Batcher<std::string, FillMaskAnswer, FillMaskWork> {
 public:
  FillMaskDriver(const Model& model, const FillMaskOptions& options)
      : Batcher((tasks::require_task(model, "fill-mask"),
                 tasks::make_runner(model, with_best_words(model, options.top_k, kBest), options, {kBest}, {kBest}))),
        encoder_(model, tasks::longest_text(model), options.truncate),
        top_k_(static_cast<size_t>(std::max(options.top_k, 0))) {
    const Tokenizer& tokenizer = encoder_.tokenizer();
    if (!tokenizer.mask_id() || !tokenizer.mask_token()) {
      fail(ErrorCode::unsupported, "{}: the tokenizer names no mask token", model.info().source);
    }
    mask_id_ = *tokenizer.mask_id();
    mask_token_ = *tokenizer.mask_token();
    lower_mask_token_ = tasks::lower_case(mask_token_);
  }

 protected:
  FillMaskWork prepare(const std::string& text) const override {
    FillMaskWork work;
    work.encoding = encoder_.encode(text);
    reject_wrong_case(text);
    tasks::Sequence sequence = encoder_.sequence(work.encoding);
    for (size_t i = 0; i < sequence.ids.size(); ++i) {
      if (sequence.ids[i] == mask_id_) sequence.rows.push_back(static_cast<int32_t>(i));
    }
    if (sequence.rows.empty()) fail(ErrorCode::invalid_text, "the text has no mask; this model's mask token is {}", mask_token_);
    work.sequences.push_back(std::move(sequence));
    return work;
  }

  void read(FillMaskWork& work, size_t, const SequenceOutputs& outputs) const override {
    const std::span<const float> values = outputs.values(kBest);
    const size_t masks = work.sequences[0].rows.size();
    const size_t width = values.size() / masks, most = width / 2;
    for (size_t mask = 0; mask < masks; ++mask) {
      const std::span<const float> row = values.subspan(mask * width, width);
      const double log_sum_exp = row[2 * most];
      FillMaskWork::Best best;
      for (size_t i = 0; i < std::min(top_k_, most); ++i) {
        best.ids.push_back(static_cast<int32_t>(row[most + i]));
        best.scores.push_back(static_cast<float>(std::exp(row[i] - log_sum_exp)));
      }
      work.best.push_back(std::move(best));
    }
  }

  FillMaskAnswer finish(const std::string&, FillMaskWork&& work) const override {
    const std::vector<int32_t>& rows = work.sequences[0].rows;
    FillMaskAnswer answer;
    for (size_t mask = 0; mask < rows.size(); ++mask) {
      FillMaskAnswer::Mask result;
      result.position = rows[mask];
      for (size_t i = 0; i < work.best[mask].ids.size(); ++i) {
        const int32_t id = work.best[mask].ids[i];
        result.candidates.push_back({encoder_.tokenizer().decode({&id, 1}, false), id, work.best[mask].scores[i],
                                     filled(work.encoding, rows[mask], id, rows.size() == 1)});
      }
      answer.masks.push_back(std::move(result));
    }
    return answer;
  }

 private:
  // "[mask]" would be cut into pieces and never be noticed.
  void reject_wrong_case(const std::string& text) const {
    const std::string lower = tasks::lower_case(text);
    if (lower.size() != text.size()) return;  // offsets differ; the text then needs a true mask, which is checked next
    for (size_t at = lower.find(lower_mask_token_); at != std::string::npos;
         at = lower.find(lower_mask_token_, at + lower_mask_token_.size())) {
      if (text.compare(at, mask_token_.size(), mask_token_) == 0) continue;
      fail(ErrorCode::invalid_text, "\"{}\" is not a mask; this model's mask token is {}", text.substr(at, mask_token_.size()),
           mask_token_);
    }
  }

  // As Hugging Face: special tokens are left out of a text with one mask. With several, skipping them would take the other
  // masks too, so only those that the tokenizer put around the text go.
  std::string filled(const Encoding& encoding, int32_t position, int32_t id, bool skip_special) const {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < encoding.ids.size(); ++i) {
      const int32_t token = static_cast<int32_t>(i) == position ? id : encoding.ids[i];
      if (encoder_.tokenizer().pad_id() == token) continue;
      if (!skip_special && encoding.special_tokens_mask[i] != 0) continue;
      ids.push_back(token);
    }
    return encoder_.tokenizer().decode(ids, skip_special);
  }

  tasks::TextEncoder encoder_;
  size_t top_k_;
  int32_t mask_id_ = 0;
  std::string mask_token_, lower_mask_token_;
};

}  // namespace

FillMask::FillMask(const Model& model, const FillMaskOptions& options) : Task(std::make_unique<FillMaskDriver>(model, options)) {}

}  // namespace bertie
