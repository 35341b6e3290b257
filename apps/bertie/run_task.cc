#include <algorithm>
#include <chrono>
#include <deque>
#include <limits>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "answers.h"
#include "base/error.h"
#include "formats/json.h"
#include "interrupt.h"
#include "line_reader.h"
#include "npy_rows.h"
#include "output.h"
#include "progress.h"
#include "run.h"

namespace bertie::cli {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Grouping parse_grouping(const std::string& name) {
  if (name == "none") return Grouping::none;
  if (name == "first") return Grouping::first;
  if (name == "average") return Grouping::average;
  if (name == "max") return Grouping::max;
  return Grouping::simple;
}

// The texts named on the command line, or the lines of a file or of standard input.
class Texts {
 public:
  explicit Texts(const RunOptions& options) : named_(options.texts) {
    if (named_.empty()) reader_ = std::make_unique<LineReader>(options.file);
    if (!options.file.empty()) progress_.emplace(reader_->file_size());
  }

  Pull next(std::string& text, bool may_wait) {
    if (progress_) progress_->update(given_, reader_->bytes_read());
    if (!reader_) {
      if (given_ == named_.size()) return Pull::end;
      text = named_[given_++];
      return Pull::item;
    }
    if (may_wait) flush_output();  // before waiting for more, show what there is
    const Pull pull = reader_->next(text, may_wait);
    if (pull == Pull::item) ++given_;
    return pull;
  }

  bool named() const { return !named_.empty(); }

 private:
  std::vector<std::string> named_;
  std::unique_ptr<LineReader> reader_;
  std::optional<Progress> progress_;
  size_t given_ = 0;
};

// Counts the items that could not be answered, and shows them.
class Failures {
 public:
  explicit Failures(bool json) : json_(json) {}
  void add(const std::string& text, size_t line, const Error& error) {
    any_ = true;
    if (json_) {
      write_line(to_line(Json{{"text", text}, {"error", error.what()}}));
    } else {
      complain(fmt::format("text {}: {}", line, error.what()));
    }
  }
  int exit_status() const { return any_ ? 1 : 0; }

 private:
  bool json_;
  bool any_ = false;
};

class TaskRun {
 public:
  explicit TaskRun(const RunOptions& options)
      : options_(options), texts_(options), failures_(options.common.json), model_(options.common.load_model()) {
    if (options.common.verbose) note_surplus(model_.info());
  }

  int run() {
    if (options_.task == "fill-mask") return fill_mask();
    if (options_.task == "classify") return classify();
    if (options_.task == "tag") return tag();
    if (options_.task == "answer") return answer();
    if (options_.task == "embed") return embed();
    return rerank();
  }

 private:
  template <typename Options>
  Options task_options() const {
    Options options;
    options_.common.copy_to(options, model_);
    options.token_budget = options_.token_budget;
    options.truncate = options_.truncate;
    return options;
  }

  // The task has been made: what follows is the work.
  void loaded() { load_ms_ = milliseconds_since(start_); }

  template <typename Item, typename Answer>
  void show(const Item& item, const Answer& answer) const {
    write_line(options_.common.json ? to_line(to_json(item, answer)) : to_table(item, answer));
  }

  // Streams the texts through a task. `parse` makes an item of a line and may throw; `take` gets item, answer and index.
  template <typename Item, typename Answer, typename Parse, typename Take, typename Skip>
  int stream(Task<Item, Answer>& task, Parse parse, Take take, Skip skip) {
    std::deque<std::string> waiting;  // the lines as given, for error rows
    size_t index = 0;
    const auto source = [&](Item& item, bool may_wait) {
      std::string line;
      try {
        const Pull pull = texts_.next(line, may_wait);
        if (pull != Pull::item) return pull;
      } catch (const Error& error) {
        if (error.code() == ErrorCode::invalid_text) waiting.push_back(line);
        throw;
      }
      waiting.push_back(line);
      item = parse(std::move(line));
      return Pull::item;
    };
    const auto sink = [&](Item&& item, Result<Answer>&& result) {
      if (result.ok()) {
        take(item, std::move(result.value()), index);
      } else {
        failures_.add(waiting.front(), index + 1, result.error());
        skip();
      }
      waiting.pop_front();
      ++index;
    };
    task.stream(source, sink, interrupted);
    return finish(task.times());
  }

  template <typename Item, typename Answer, typename Parse>
  int stream_rows(Task<Item, Answer>& task, Parse parse) {
    loaded();
    return stream(
        task, parse, [&](const Item& item, Answer&& answer, size_t) { show(item, answer); }, [] {});
  }

  int finish(const TaskTimes& times) {
    flush_output();
    // A person who named a text wants to know how long it took; a pipe does not.
    if (!options_.common.json && (texts_.named() || stderr_is_terminal())) {
      const auto counted = [](int64_t count, const char* noun) {
        return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
      };
      note(fmt::format("load {:.1f} ms, tokenise {:.2f} ms, run {:.2f} ms ({}, {})", load_ms_, times.tokenize_ms,
                       times.run_ms + times.read_ms, counted(times.items, "text"), counted(times.tokens, "token")));
    }
    return failures_.exit_status();
  }

  int fill_mask() {
    auto options = task_options<FillMaskOptions>();
    options.top_k = options_.top_k.value_or(options.top_k);
    FillMask task(model_, options);
    return stream_rows(task, [](std::string&& line) { return std::move(line); });
  }

  int classify() {
    auto options = task_options<ClassifyOptions>();
    options.function = options_.function;
    Classify task(model_, options);
    loaded();
    const size_t shown = static_cast<size_t>(options_.top_k.value_or(std::numeric_limits<int>::max()));
    return stream(
        task, [&](std::string&& line) { return parse_pair(std::move(line)); },
        [&](const ClassifyItem& item, ClassifyAnswer&& answer, size_t) {
          if (answer.labels.size() > shown) answer.labels.resize(shown);
          show(item, answer);
        },
        [] {});
  }

  // A line is a pair where it is an object with both texts; any other line is a text.
  ClassifyItem parse_pair(std::string&& line) const {
    if (options_.has_text_pair) return {std::move(line), options_.text_pair};
    if (line.starts_with('{')) {
      const auto object = nlohmann::json::parse(line, nullptr, false);
      if (object.is_object() && object.contains("text_pair") && object.contains("text")) {
        const JsonFields fields(object, "the line");
        return {fields.text("text"), fields.text("text_pair")};
      }
    }
    return ClassifyItem(std::move(line));
  }

  int tag() {
    auto options = task_options<TagOptions>();
    options.grouping = parse_grouping(options_.grouping);
    Tag task(model_, options);
    return stream_rows(task, [](std::string&& line) { return std::move(line); });
  }

  int answer() {
    auto options = task_options<AnswerQuestionOptions>();
    options.top_k = options_.top_k.value_or(options.top_k);
    options.max_answer_tokens = options_.max_answer;
    options.window_tokens = options_.window;
    options.window_overlap = options_.overlap;
    options.allow_no_answer = options_.allow_no_answer;
    AnswerQuestion task(model_, options);
    return stream_rows(task, [&](std::string&& line) {
      if (options_.has_question) return Question{options_.question, std::move(line)};
      const auto object = parse_json(line, "the line");
      const JsonFields fields(object, "the line");
      return Question{fields.text("question"), fields.text("context")};
    });
  }

  int embed() {
    auto options = task_options<EmbedOptions>();
    options.pooling = options_.pooling;
    options.normalize = options_.normalize;
    Embed task(model_, options);
    const auto parse = [](std::string&& line) { return std::move(line); };
    if (options_.output.empty()) return stream_rows(task, parse);
    loaded();
    NpyRows matrix(options_.output, {task.width()});
    const auto take = [&](const std::string& text, std::vector<float>&& embedding, size_t) {
      matrix.append(embedding);
      if (options_.common.json) show(text, embedding);
    };
    const auto skip = [&] { matrix.append_constant(std::numeric_limits<float>::quiet_NaN(), task.width()); };
    try {
      const int status = stream(task, parse, take, skip);
      matrix.finish();
      return status;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) matrix.finish();  // the rows there are
      throw;
    }
  }

  int rerank() {
    Rerank task(model_, task_options<TaskOptions>());
    loaded();
    if (!options_.has_query) return rerank_lines(task);
    std::vector<Ranked> ranked;
    std::vector<std::string> kept;  // only the table shows them
    const int status = stream(
        task,
        [&](std::string&& line) {
          return RerankItem{options_.query, std::move(line)};
        },
        [&](const RerankItem& item, float&& score, size_t index) {
          ranked.push_back({index, score});
          if (!options_.common.json) kept.push_back(item.text);
        },
        [&] {
          if (!options_.common.json) kept.emplace_back();
        });
    show_ranked(options_.query, std::move(ranked), kept);
    flush_output();
    return status;
  }

  // One query with its texts a line.
  int rerank_lines(Rerank& task) {
    std::string line;
    for (size_t number = 1;; ++number) {
      try {
        line.clear();
        if (texts_.next(line, true) == Pull::end) break;
        const auto object = parse_json(line, "the line");
        const JsonFields fields(object, "the line");
        std::vector<RerankItem> items;
        std::vector<std::string> texts = parse_texts(fields);
        for (const std::string& text : texts) items.push_back({fields.text("query"), text});
        std::vector<Ranked> ranked;
        size_t index = 0;
        for (const Result<float>& score : task.run(items)) {
          if (score.ok())
            ranked.push_back({index, score.value()});
          else
            failures_.add(texts[index], number, score.error());
          ++index;
        }
        show_ranked(fields.text("query"), std::move(ranked), texts);
      } catch (const Error& error) {
        if (error.code() == ErrorCode::io) throw;
        failures_.add(line, number, error);
      }
    }
    return finish(task.times());
  }

  static std::vector<std::string> parse_texts(const JsonFields& fields) {
    const nlohmann::json* list = fields.find("texts");
    if (!list) return {fields.text("text")};
    std::vector<std::string> texts;
    if (!list->is_array()) fields.refuse("texts", "an array of strings");
    for (const auto& text : *list) {
      if (!text.is_string()) fields.refuse("texts", "an array of strings");
      texts.push_back(text.get<std::string>());
    }
    return texts;
  }

  void show_ranked(const std::string& query, std::vector<Ranked>&& ranked, const std::vector<std::string>& texts) const {
    std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) { return a.score > b.score; });
    if (options_.top_k) ranked.resize(std::min(ranked.size(), static_cast<size_t>(*options_.top_k)));
    write_line(options_.common.json ? to_line(to_json(query, ranked)) : to_table(query, ranked, texts));
  }

  const RunOptions& options_;
  Clock::time_point start_ = Clock::now();
  Texts texts_;
  Failures failures_;
  Model model_;
  double load_ms_ = 0;
};

}  // namespace

int run_task(const RunOptions& options) {
  options.common.start_log();
  RunOptions effective = options;
  if (options.has_context) effective.texts = {options.context};
  return TaskRun(effective).run();
}

}  // namespace bertie::cli
