#include "bertie/tasks.h"

#include "base/error.h"
#include "tasks/batcher.h"
#include "tasks/characters.h"
#include "tasks/entities.h"
#include "tasks/softmax.h"
#include "tasks/task_model.h"

namespace bertie {
namespace {

struct TagWork : tasks::Work {
  Encoding encoding;
  std::vector<tasks::TaggedToken> tokens;
};

class TagDriver final : public tasks::Batcher<std::string, TagAnswer, TagWork> {
 public:
  TagDriver(const Model& model, const TagOptions& options)
      : Batcher((tasks::require_task(model, "tag"),
                 tasks::make_runner(model, model.network(), options, {model.info().output("logits")}))),
        logits_(model.info().output("logits")),
        encoder_(model, tasks::longest_text(model), options.truncate),
        grouping_(options.grouping),
        ignored_(options.ignored_labels),
        labels_(model.info().labels),
        marks_subwords_(!encoder_.tokenizer().continuing_subword_prefix().empty()) {}

 protected:
  TagWork prepare(const std::string& text) const override {
    TagWork work;
    work.encoding = encoder_.encode(text);
    work.sequences.push_back(encoder_.sequence(work.encoding));
    return work;
  }

  void read(TagWork& work, size_t, const tasks::SequenceOutputs& outputs) const override {
    const std::span<const float> logits = outputs.values(logits_);
    const Encoding& encoding = work.encoding;
    const size_t width = logits.size() / encoding.size();
    for (size_t i = 0; i < encoding.size(); ++i) {
      if (encoding.special_tokens_mask[i] != 0) continue;
      const auto [start, end] = encoding.offsets[i];
      work.tokens.push_back({start, end, false, tasks::softmax(logits.subspan(i * width, width))});
    }
  }

  TagAnswer finish(const std::string& text, TagWork&& work) const override {
    uint32_t last = 0;
    for (const tasks::TaggedToken& token : work.tokens) last = std::max(last, token.end);
    const tasks::Characters characters(text, last + 1);
    mark_words(work, characters);
    TagAnswer answer;
    answer.entities = tasks::group_entities(work.tokens, labels_, grouping_, ignored_);
    for (TagAnswer::Entity& entity : answer.entities) entity.text = characters.slice(entity.start, entity.end);
    return answer;
  }

 private:
  // Hugging Face's rules: where the vocabulary marks continuing pieces, a token that is not as long as its text is one;
  // elsewhere a token continues a word where no space stands on either side of its start. The unknown token never does.
  void mark_words(TagWork& work, const tasks::Characters& characters) const {
    const Encoding& encoding = work.encoding;
    size_t next = 0;
    for (size_t i = 0; i < encoding.size(); ++i) {
      if (encoding.special_tokens_mask[i] != 0) continue;
      tasks::TaggedToken& token = work.tokens[next++];
      if (encoder_.tokenizer().unknown_id() == encoding.ids[i]) continue;
      if (marks_subwords_) {
        const size_t length = tasks::count_characters(encoder_.tokenizer().id_to_token(encoding.ids[i]));
        token.continues_word = length != tasks::count_characters(characters.slice(token.start, token.end));
      } else {
        token.continues_word =
            token.start > 0 && characters.slice(token.start - 1, token.start + 1).find(' ') == std::string_view::npos;
      }
    }
  }

  std::string logits_;  // the output's name
  tasks::TextEncoder encoder_;
  Grouping grouping_;
  std::vector<std::string> ignored_;
  std::vector<std::string> labels_;
  bool marks_subwords_;
};

}  // namespace

Tag::Tag(const Model& model, const TagOptions& options) : Task(std::make_unique<TagDriver>(model, options)) {}

}  // namespace bertie
