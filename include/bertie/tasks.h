// Tasks: texts in, answers out. Each equals the Hugging Face pipeline of its name in meaning and numbers.
//
// A task is made from a Model: it keeps the engine and its sessions, not the Model. Every task takes one item, a vector, or
// a stream of any length, which it tokenises, sorts by length within a window, packs by a token budget and answers
// in the order given, in memory that does not grow with the stream. Use a task from one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "bertie/base.h"
#include "bertie/engine.h"
#include "bertie/model.h"

namespace bertie {

struct TaskOptions {
  std::string device = "cpu";
  std::string precision = "fp32";
  std::vector<std::string> layer_precision;        // see EngineOptions; names of steps that the task needs
  std::shared_ptr<const Calibration> calibration;  // see EngineOptions
  int threads = 0;                                 // 0: all usable CPUs
  Mode mode = Mode::latency;                       // throughput: as many batches at once as threads
  bool pin = false;                                // see EngineOptions
  int64_t token_budget = 0;  // tokens packed into one batch; 0: the task's own choice. A longer text is a batch by itself
  // Cut a text that is longer than the model's positions; otherwise it is an error. Models whose folder states a maximum
  // length for embeddings always cut to that.
  bool truncate = false;
  std::vector<std::string> disabled_passes;
  std::shared_ptr<KernelTimings> timings;  // see EngineOptions; nullptr: those of the model's engine file
  bool tune = false;
};

// An answer, or what was wrong with this one item.
template <typename Answer>
class Result {
 public:
  Result(Answer answer) : state_(std::move(answer)) {}
  Result(Error error) : state_(std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  // Throws the Error where there is one.
  Answer& value() { return ok() ? std::get<0>(state_) : throw std::get<1>(state_); }
  const Answer& value() const { return ok() ? std::get<0>(state_) : throw std::get<1>(state_); }
  // Only where !ok().
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<Answer, Error> state_;
};

// What a source says about its next item.
enum class Pull {
  item,   // `item` is filled in
  later,  // none yet: answered only where `may_wait` is false, so that what was read so far is answered first
  end,
};
// A source may throw an Error: it becomes the result of that one item, and the stream goes on.
template <typename Item>
using Source = std::function<Pull(Item& item, bool may_wait)>;
// Called in the order of the source, from the caller's thread.
template <typename Item, typename Answer>
using Sink = std::function<void(Item&& item, Result<Answer>&& result)>;
// Asked between batches; true ends the stream with Error(cancelled) after the answers that are ready have been given.
using Cancelled = std::function<bool()>;

// Sums over the life of a task.
struct TaskTimes {
  double tokenize_ms = 0;
  double run_ms = 0;   // Session::run
  double read_ms = 0;  // from outputs to answers
  int64_t items = 0;
  int64_t sequences = 0;  // windows counted
  int64_t tokens = 0;
  int64_t batches = 0;
};

template <typename Item, typename Answer>
class TaskDriver {
 public:
  virtual ~TaskDriver() = default;
  virtual void stream(const Source<Item>& source, const Sink<Item, Answer>& sink, const Cancelled& cancelled) = 0;
  virtual const Engine& engine() const = 0;
  virtual const TaskTimes& times() const = 0;
  virtual size_t workspace_bytes() const = 0;
};

// What every task offers.
template <typename Item, typename Answer>
class Task {
 public:
  // One item. Throws Error(invalid_text) where it cannot be answered.
  Answer run(const Item& item) { return std::move(run(std::span(&item, 1)).front().value()); }

  // Many, in their order; a bad one does not stop the rest.
  std::vector<Result<Answer>> run(std::span<const Item> items) {
    std::vector<Result<Answer>> results;
    results.reserve(items.size());
    size_t next = 0;
    driver_->stream(
        [&](Item& item, bool) {
          if (next == items.size()) return Pull::end;
          item = items[next++];
          return Pull::item;
        },
        [&](Item&&, Result<Answer>&& result) { results.push_back(std::move(result)); }, {});
    return results;
  }

  // A stream of any length.
  void stream(const Source<Item>& source, const Sink<Item, Answer>& sink, const Cancelled& cancelled = {}) {
    driver_->stream(source, sink, cancelled);
  }

  const Engine& engine() const { return driver_->engine(); }
  const TaskTimes& times() const { return driver_->times(); }
  size_t workspace_bytes() const { return driver_->workspace_bytes(); }

 protected:
  explicit Task(std::unique_ptr<TaskDriver<Item, Answer>> driver) : driver_(std::move(driver)) {}

 private:
  std::unique_ptr<TaskDriver<Item, Answer>> driver_;
};

// ---- fill-mask ----

struct FillMaskAnswer {
  struct Candidate {
    std::string token;  // as the tokenizer decodes it
    int32_t id = 0;
    float score = 0;   // softmax over the whole vocabulary
    std::string text;  // the whole text, decoded, with this mask filled; other masks stay
  };
  struct Mask {
    int32_t position = 0;               // token index, special tokens counted
    std::vector<Candidate> candidates;  // best first
  };
  std::vector<Mask> masks;  // in text order
};

struct FillMaskOptions : TaskOptions {
  int top_k = 10;
};

// Only the masked rows of the head are computed. A text without this model's mask token, or with it in the wrong
// case, is an Error(invalid_text) that names the mask token.
class BERTIE_API FillMask : public Task<std::string, FillMaskAnswer> {
 public:
  // Throws Error(unsupported) where the model has no masked-language-model head, or its tokenizer no mask token.
  explicit FillMask(const Model& model, const FillMaskOptions& options = {});
};

// ---- classify ----

// A text, or a pair.
struct ClassifyItem {
  std::string text;
  std::optional<std::string> text_pair;

  ClassifyItem() = default;
  ClassifyItem(std::string first) : text(std::move(first)) {}
  ClassifyItem(const char* first) : text(first) {}
  ClassifyItem(std::string first, std::string second) : text(std::move(first)), text_pair(std::move(second)) {}
};

struct ClassifyAnswer {
  struct Label {
    std::string label;
    float score = 0;
  };
  std::vector<Label> labels;  // all of them, best first
};

struct ClassifyOptions : TaskOptions {
  // auto: softmax; sigmoid for multi_label_classification and for a single label; none for regression.
  std::string function = "auto";  // auto, softmax, sigmoid, none
};

class BERTIE_API Classify : public Task<ClassifyItem, ClassifyAnswer> {
 public:
  explicit Classify(const Model& model, const ClassifyOptions& options = {});
};

// ---- tag ----

struct TagAnswer {
  struct Entity {
    std::string label;   // without B- or I-, except where nothing is grouped
    std::string text;    // this slice of the original
    uint32_t start = 0;  // Unicode characters of the text
    uint32_t end = 0;
    float score = 0;
  };
  std::vector<Entity> entities;  // in text order
};

// How tokens become entities; Hugging Face's aggregation strategies.
enum class Grouping {
  none,     // one entity a token
  simple,   // neighbouring tokens of the same tag
  first,    // words, by their first token's scores; then as simple
  average,  // words, by their tokens' mean scores; then as simple
  max,      // words, by their surest token's scores; then as simple
};

struct TagOptions : TaskOptions {
  Grouping grouping = Grouping::simple;
  std::vector<std::string> ignored_labels = {"O"};
};

class BERTIE_API Tag : public Task<std::string, TagAnswer> {
 public:
  explicit Tag(const Model& model, const TagOptions& options = {});
};

// ---- answer ----

struct Question {
  std::string question;
  std::string context;
};

struct QuestionAnswer {
  struct Span {
    std::string answer;  // this slice of the context; empty: no answer
    uint32_t start = 0;  // Unicode characters of the context
    uint32_t end = 0;
    float score = 0;
  };
  std::vector<Span> spans;  // best first; at least one
};

struct AnswerQuestionOptions : TaskOptions {
  int top_k = 1;
  int max_answer_tokens = 15;
  int64_t window_tokens = 0;   // question, context and special tokens; 0: the smaller of 384 and the model's own length
  int64_t window_overlap = 0;  // context tokens that consecutive windows share; 0: the smaller of 128 and half a window
  bool allow_no_answer = false;
};

// The best spans over overlapping windows of the context; a context of any length.
class BERTIE_API AnswerQuestion : public Task<Question, QuestionAnswer> {
 public:
  explicit AnswerQuestion(const Model& model, const AnswerQuestionOptions& options = {});
};

// ---- embed ----

struct EmbedOptions : TaskOptions {
  // Empty: as the folder's modules.json says, else mean. mean, cls, max or mean_sqrt_length replace what it says.
  std::string pooling;
  std::optional<bool> normalize;  // absent: as the folder says, else no
};

class BERTIE_API Embed : public Task<std::string, std::vector<float>> {
 public:
  explicit Embed(const Model& model, const EmbedOptions& options = {});
  int64_t width() const;  // numbers in an embedding
};

// ---- rerank ----

struct RerankItem {
  std::string query;
  std::string text;
};

struct Ranked {
  size_t index = 0;  // into the texts given
  float score = 0;
};

// A cross-encoder with one label. The score is sentence-transformers' CrossEncoder's: the sigmoid of the logit, or the
// logit itself where config.json names the identity as activation function.
class BERTIE_API Rerank : public Task<RerankItem, float> {
 public:
  explicit Rerank(const Model& model, const TaskOptions& options = {});

  // All texts, best first. Throws the first text's Error.
  std::vector<Ranked> rank(const std::string& query, std::span<const std::string> texts);
};

}  // namespace bertie
