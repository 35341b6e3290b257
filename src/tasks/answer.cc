#include <algorithm>

#include "base/error.h"
#include "bertie/tasks.h"
#include "tasks/batcher.h"
#include "tasks/characters.h"
#include "tasks/spans.h"
#include "tasks/task_model.h"

namespace bertie {
namespace {

constexpr int64_t kWindowTokens = 384;
constexpr int64_t kWindowOverlap = 128;

struct AnswerWork : tasks::Work {
  std::vector<Encoding> windows;
  std::vector<tasks::WindowSpans> found;  // one a window
};

class AnswerDriver final : public tasks::Batcher<Question, QuestionAnswer, AnswerWork> {
 public:
  AnswerDriver(const Model& model, const AnswerQuestionOptions& options)
      : Batcher((tasks::require_task(model, "answer"),
                 tasks::make_runner(model, model.network(), options,
                                    {model.info().output("start_logits"), model.info().output("end_logits")}))),
        start_logits_(model.info().output("start_logits")),
        end_logits_(model.info().output("end_logits")),
        encoder_(model, tasks::longest_text(model), options.truncate),
        options_(options) {
    if (options.top_k < 1) fail(ErrorCode::invalid_argument, "top_k is {}; it must be at least 1", options.top_k);
    if (options.max_answer_tokens < 1) {
      fail(ErrorCode::invalid_argument, "max_answer_tokens is {}; it must be at least 1", options.max_answer_tokens);
    }
    if (options_.window_tokens <= 0) {
      const auto stated = static_cast<int64_t>(encoder_.tokenizer().model_max_length().value_or(kWindowTokens));
      options_.window_tokens = std::min(stated, kWindowTokens);
    }
    options_.window_tokens = std::min(options_.window_tokens, encoder_.max_length());
    if (options_.window_overlap <= 0) options_.window_overlap = std::min(options_.window_tokens / 2, kWindowOverlap);
  }

 protected:
  AnswerWork prepare(const Question& item) const override {
    if (item.question.empty()) fail(ErrorCode::invalid_text, "the question is empty");
    if (item.context.empty()) fail(ErrorCode::invalid_text, "the context is empty");
    Truncation truncation;
    truncation.max_length = static_cast<size_t>(options_.window_tokens);
    truncation.stride = static_cast<size_t>(options_.window_overlap);
    truncation.strategy = TruncationStrategy::only_second;
    AnswerWork work;
    work.windows = encoder_.tokenizer().encode_windows(item.question, item.context, truncation);
    for (const Encoding& window : work.windows) work.sequences.push_back(encoder_.sequence(window));
    work.found.resize(work.windows.size());
    return work;
  }

  void read(AnswerWork& work, size_t window, const tasks::SequenceOutputs& outputs) const override {
    const Encoding& encoding = work.windows[window];
    std::vector<uint8_t> in_context(encoding.size());
    for (size_t i = 0; i < encoding.size(); ++i) in_context[i] = encoding.sequence_ids[i] == 1;
    // Some spans fall together when they are widened to whole words.
    const size_t count = 2 * static_cast<size_t>(options_.top_k) + 10;
    work.found[window] = tasks::best_spans(outputs.values(start_logits_), outputs.values(end_logits_), in_context, count,
                                           static_cast<size_t>(options_.max_answer_tokens));
  }

  QuestionAnswer finish(const Question& item, AnswerWork&& work) const override {
    const tasks::Characters characters(item.context, last_character(work));
    std::vector<Candidate> candidates;
    double no_answer = 1;
    for (size_t window = 0; window < work.windows.size(); ++window) {
      no_answer = std::min(no_answer, work.found[window].no_answer);
      for (const tasks::TokenSpan& span : work.found[window].spans) add(candidates, work.windows[window], span, characters);
    }
    if (options_.allow_no_answer) candidates.push_back({"", 0, 0, no_answer, ""});
    if (candidates.empty()) fail(ErrorCode::invalid_text, "the context has no tokens");
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
    candidates.resize(std::min(candidates.size(), static_cast<size_t>(options_.top_k)));
    QuestionAnswer answer;
    for (Candidate& candidate : candidates) {
      answer.spans.push_back({std::move(candidate.text), candidate.start, candidate.end, static_cast<float>(candidate.score)});
    }
    return answer;
  }

 private:
  struct Candidate {
    std::string text;
    uint32_t start = 0, end = 0;
    double score = 0;
    std::string lower;
  };

  static uint32_t last_character(const AnswerWork& work) {
    uint32_t last = 0;
    for (const Encoding& window : work.windows) {
      for (size_t i = 0; i < window.size(); ++i) {
        if (window.sequence_ids[i] == 1) last = std::max(last, window.offsets[i].second);
      }
    }
    return last;
  }

  // Widens the span to whole words of this window; equal texts, case aside, are one answer with their scores added.
  static void add(std::vector<Candidate>& candidates, const Encoding& window, const tasks::TokenSpan& span,
                  const tasks::Characters& characters) {
    size_t first = span.first, last = span.last;
    const auto same_word = [&](size_t a, size_t b) {
      return window.word_ids[a] >= 0 && window.word_ids[a] == window.word_ids[b] && window.sequence_ids[b] == 1;
    };
    while (first > 0 && same_word(span.first, first - 1)) --first;
    while (last + 1 < window.size() && same_word(span.last, last + 1)) ++last;
    const uint32_t start = window.offsets[first].first, end = window.offsets[last].second;
    std::string text(characters.slice(start, end));
    std::string lower = tasks::lower_case(text);
    for (Candidate& candidate : candidates) {
      if (candidate.lower == lower) {
        candidate.score += span.score;
        return;
      }
    }
    candidates.push_back({std::move(text), start, end, span.score, std::move(lower)});
  }

  std::string start_logits_, end_logits_;  // the outputs' names
  tasks::TextEncoder encoder_;
  AnswerQuestionOptions options_;
};

}  // namespace

AnswerQuestion::AnswerQuestion(const Model& model, const AnswerQuestionOptions& options)
    : Task(std::make_unique<AnswerDriver>(model, options)) {}

}  // namespace bertie
