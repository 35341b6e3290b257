#include <algorithm>

#include "base/error.h"
#include "bertie/tasks.h"
#include "tasks/batcher.h"
#include "tasks/softmax.h"
#include "tasks/task_model.h"

namespace bertie {
namespace {

struct RerankWork : tasks::Work {
  float logit = 0;
};

class RerankDriver final : public tasks::Batcher<RerankItem, float, RerankWork> {
 public:
  RerankDriver(const Model& model, const TaskOptions& options)
      : Batcher((tasks::require_task(model, "rerank"),
                 tasks::make_runner(model, model.network(), options, {model.info().output("logits")}))),
        logits_(model.info().output("logits")),
        encoder_(model, tasks::longest_text(model), options.truncate),
        sigmoid_(model.info().score_activation != "identity") {}

 protected:
  RerankWork prepare(const RerankItem& item) const override {
    RerankWork work;
    work.sequences.push_back(encoder_.sequence(encoder_.encode(item.query, item.text)));
    return work;
  }

  void read(RerankWork& work, size_t, const tasks::SequenceOutputs& outputs) const override {
    work.logit = outputs.values(logits_)[0];
  }

  float finish(const RerankItem&, RerankWork&& work) const override { return sigmoid_ ? tasks::sigmoid(work.logit) : work.logit; }

 private:
  std::string logits_;  // the output's name
  tasks::TextEncoder encoder_;
  bool sigmoid_;
};

}  // namespace

Rerank::Rerank(const Model& model, const TaskOptions& options) : Task(std::make_unique<RerankDriver>(model, options)) {}

std::vector<Ranked> Rerank::rank(const std::string& query, std::span<const std::string> texts) {
  std::vector<RerankItem> items;
  items.reserve(texts.size());
  for (const std::string& text : texts) items.push_back({query, text});
  std::vector<Ranked> ranked;
  ranked.reserve(texts.size());
  for (const Result<float>& score : run(items)) ranked.push_back({ranked.size(), score.value()});
  std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) { return a.score > b.score; });
  return ranked;
}

}  // namespace bertie
