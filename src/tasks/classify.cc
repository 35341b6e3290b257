#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "bertie/tasks.h"
#include "tasks/batcher.h"
#include "tasks/softmax.h"
#include "tasks/task_model.h"

namespace bertie {
namespace {

enum class Function { softmax, sigmoid, none };

// Hugging Face's rule, in its order.
Function default_function(const ModelInfo& info) {
  if (info.problem_type == ProblemType::regression) return Function::none;
  if (info.problem_type == ProblemType::multi_label || info.labels.size() == 1) return Function::sigmoid;
  return Function::softmax;
}

Function parse_function(const std::string& name, const ModelInfo& info) {
  if (name == "auto") return default_function(info);
  if (name == "softmax") return Function::softmax;
  if (name == "sigmoid") return Function::sigmoid;
  if (name == "none") return Function::none;
  fail(ErrorCode::invalid_argument, "unknown function {}; there are auto, softmax, sigmoid, none", name);
}

struct ClassifyWork : tasks::Work {
  std::vector<float> logits;
};

class ClassifyDriver final : public tasks::Batcher<ClassifyItem, ClassifyAnswer, ClassifyWork> {
 public:
  ClassifyDriver(const Model& model, const ClassifyOptions& options)
      : Batcher((tasks::require_task(model, "classify"),
                 tasks::make_runner(model, model.network(), options, {model.info().output("logits")}))),
        logits_(model.info().output("logits")),
        encoder_(model, tasks::longest_text(model), options.truncate),
        function_(parse_function(options.function, model.info())),
        labels_(model.info().labels) {}

 protected:
  ClassifyWork prepare(const ClassifyItem& item) const override {
    ClassifyWork work;
    std::optional<std::string_view> pair;
    if (item.text_pair) pair = *item.text_pair;
    work.sequences.push_back(encoder_.sequence(encoder_.encode(item.text, pair)));
    return work;
  }

  void read(ClassifyWork& work, size_t, const tasks::SequenceOutputs& outputs) const override {
    const std::span<const float> logits = outputs.values(logits_);
    work.logits.assign(logits.begin(), logits.end());
  }

  ClassifyAnswer finish(const ClassifyItem&, ClassifyWork&& work) const override {
    std::vector<float> scores = std::move(work.logits);
    if (function_ == Function::softmax) scores = tasks::softmax(scores);
    if (function_ == Function::sigmoid) {
      for (float& score : scores) score = tasks::sigmoid(score);
    }
    ClassifyAnswer answer;
    for (int32_t index : tasks::largest(scores, scores.size())) {
      answer.labels.push_back({tasks::label_name(labels_, index), scores[static_cast<size_t>(index)]});
    }
    return answer;
  }

 private:
  std::string logits_;  // the output's name
  tasks::TextEncoder encoder_;
  Function function_;
  std::vector<std::string> labels_;
};

}  // namespace

Classify::Classify(const Model& model, const ClassifyOptions& options) : Task(std::make_unique<ClassifyDriver>(model, options)) {}

}  // namespace bertie
