#include "calibration/compare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>

#include "base/error.h"
#include "calibration/encode_texts.h"
#include "calibration/layer_noise.h"
#include "calibration/masked_words.h"
#include "calibration/model_task.h"
#include "calibration/paired_run.h"

namespace bertie::calibration {
namespace {

constexpr size_t kTokens = size_t{1} << 16;  // of the sequences of one group

void require_same_vocabulary(const Side& a, const Side& b) {
  const Tokenizer &x = *a.model.tokenizer(), &y = *b.model.tokenizer();
  const auto differ = [&](const std::string& how) {
    fail(ErrorCode::unsupported, "the vocabularies of {} and {} differ: {}", a.name, b.name, how);
  };
  if (x.vocabulary_size() != y.vocabulary_size())
    differ(fmt::format("{} and {} tokens", x.vocabulary_size(), y.vocabulary_size()));
  for (size_t i = 0; i < x.vocabulary_size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    if (x.id_to_token(id) != y.id_to_token(id))
      differ(fmt::format("token {} is '{}' and '{}'", id, x.id_to_token(id), y.id_to_token(id)));
  }
}

class Progress {
 public:
  Progress(const CompareOptions& options, std::string_view stage, size_t total)
      : options_(options), stage_(stage), total_(total) {}
  void add(size_t texts) {
    done_ += texts;
    if (options_.progress) options_.progress(stage_, done_, total_);
  }

 private:
  const CompareOptions& options_;
  std::string_view stage_;
  size_t done_ = 0, total_;
};

double share(size_t part, size_t whole) { return static_cast<double>(part) / static_cast<double>(whole); }

void compare_words(const Side& a, const Side& b, std::span<const EncodedText> texts, const CompareOptions& options,
                   Comparison& result) {
  MaskedWords words_a(a), words_b(b);
  Progress progress(options, "masked words", texts.size());
  size_t agreed = 0, led = 0, led_agreed = 0;
  double loss_a = 0, loss_b = 0;
  const auto tokens = [&](const EncodedText& text) { return text.encoding.size() * words_a.places(text.encoding).size(); };
  for_each_group(texts, kTokens, tokens, [&](std::span<const EncodedText> group) {
    const std::vector<WordScore> x = words_a.run(group, options.cancelled), y = words_b.run(group, options.cancelled);
    for (size_t i = 0; i < x.size(); ++i) {
      const bool agree = x[i].best == y[i].best, leads = x[i].lead > options.lead;
      agreed += agree ? 1 : 0;
      led += leads ? 1 : 0;
      led_agreed += agree && leads ? 1 : 0;
      loss_a += x[i].loss;
      loss_b += y[i].loss;
    }
    result.counted += x.size();
    progress.add(group.size());
  });
  if (result.counted == 0) fail(ErrorCode::invalid_argument, "no text has a word to mask");
  const auto count = static_cast<double>(result.counted);
  result.figures = {{"agreement", share(agreed, result.counted)}, {"led", static_cast<double>(led)}};
  if (led > 0) result.figures.push_back({"agreement_led", share(led_agreed, led)});
  result.figures.push_back({"loss_a", loss_a / count});
  result.figures.push_back({"loss_b", loss_b / count});
  result.figures.push_back({"loss", (loss_b - loss_a) / count});
}

std::vector<std::vector<float>> embeddings(Embed& embed, const Side& side, std::span<const SampledText> texts) {
  std::vector<std::string> items;
  for (const SampledText& text : texts) items.push_back(text.text);
  std::vector<std::vector<float>> rows;
  for (Result<std::vector<float>>& row : embed.run(items)) {
    const size_t line = texts[rows.size()].line;
    if (!row.ok()) fail(row.error().code(), "line {}: {}: {}", line, side.name, row.error().what());
    rows.push_back(std::move(row.value()));
  }
  return rows;
}

void compare_embeddings(const Side& a, const Side& b, std::span<const SampledText> texts, const CompareOptions& options,
                        Comparison& result) {
  constexpr size_t kTexts = 512;  // of one group
  EmbedOptions options_a, options_b;
  static_cast<TaskOptions&>(options_a) = a.options;
  static_cast<TaskOptions&>(options_b) = b.options;
  Embed embed_a(a.model, options_a), embed_b(b.model, options_b);
  if (embed_a.width() != embed_b.width()) {
    fail(ErrorCode::unsupported, "embeddings of {} have {} numbers, those of {} {}", a.name, embed_a.width(), b.name,
         embed_b.width());
  }
  Progress progress(options, "embeddings", texts.size());
  double sum = 0, least = 1;
  for (size_t begin = 0; begin < texts.size(); begin += kTexts) {
    if (options.cancelled && options.cancelled()) throw Error(ErrorCode::cancelled, "cancelled");
    const auto group = texts.subspan(begin, std::min(kTexts, texts.size() - begin));
    const auto x = embeddings(embed_a, a, group), y = embeddings(embed_b, b, group);
    for (size_t i = 0; i < group.size(); ++i) {
      const double value = cosine(x[i], y[i]);
      if (!std::isfinite(value)) fail(ErrorCode::invalid_text, "line {}: an embedding is zero or not finite", group[i].line);
      sum += value;
      least = std::min(least, value);
    }
    progress.add(group.size());
  }
  result.counted = texts.size();
  result.figures = {{"cosine", sum / static_cast<double>(texts.size())}, {"cosine_min", least}};
}

// Rows of logits: one a text, one a token that is not special, or the starts and the ends over a text's tokens.
class HeadRows {
 public:
  explicit HeadRows(const Side& side)
      : tag_(task_of(side.model) == "tag"),
        outputs_(task_outputs(side.model)),
        runner_(side, side.model.network(), outputs_, {}) {}

  std::vector<std::vector<float>> run(std::span<const EncodedText> texts, const Cancelled& cancelled) {
    std::vector<tasks::Sequence> sequences;
    std::vector<size_t> lines;
    for (const EncodedText& text : texts) {
      sequences.push_back(runner_.sequence(text.encoding));
      lines.push_back(text.line);
    }
    std::vector<std::vector<std::vector<float>>> of_texts(texts.size());
    runner_.run(
        sequences, lines,
        [&](size_t index, const tasks::SequenceOutputs& values) {
          for (const std::string& output : outputs_) {
            const std::span<const float> logits = values.values(output);
            runner_.require_finite(logits, lines[index]);
            append(texts[index].encoding, logits, of_texts[index]);
          }
        },
        cancelled);
    std::vector<std::vector<float>> rows;
    for (auto& text : of_texts) std::move(text.begin(), text.end(), std::back_inserter(rows));
    return rows;
  }

 private:
  void append(const Encoding& encoding, std::span<const float> logits, std::vector<std::vector<float>>& rows) const {
    if (!tag_) {
      rows.emplace_back(logits.begin(), logits.end());
      return;
    }
    const size_t width = logits.size() / encoding.size();
    for (size_t at = 0; at < encoding.size(); ++at) {
      const auto row = logits.subspan(at * width, width);
      if (encoding.special_tokens_mask[at] == 0) rows.emplace_back(row.begin(), row.end());
    }
  }

  bool tag_;
  std::vector<std::string> outputs_;
  SideRunner runner_;
};

bool same_labels(std::span<const float> a, std::span<const float> b, bool multi_label) {
  if (multi_label) return std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) { return (x > 0) == (y > 0); });
  return std::max_element(a.begin(), a.end()) - a.begin() == std::max_element(b.begin(), b.end()) - b.begin();
}

void compare_heads(const Side& a, const Side& b, std::span<const EncodedText> texts, const CompareOptions& options,
                   Comparison& result) {
  HeadRows head_a(a), head_b(b);
  const bool multi_label = a.model.info().problem_type == ProblemType::multi_label;
  Progress progress(options, result.task, texts.size());
  size_t agreed = 0;
  bool labelled = false;
  double difference = 0;
  const auto tokens = [](const EncodedText& text) { return text.encoding.size(); };
  for_each_group(texts, kTokens, tokens, [&](std::span<const EncodedText> group) {
    const auto x = head_a.run(group, options.cancelled), y = head_b.run(group, options.cancelled);
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i].size() != y[i].size())
        fail(ErrorCode::unsupported, "{} has {} labels, {} has {}", a.name, x[i].size(), b.name, y[i].size());
      labelled = labelled || x[i].size() > 1;
      agreed += same_labels(x[i], y[i], multi_label) ? 1 : 0;
      for (size_t label = 0; label < x[i].size(); ++label)
        difference = std::max(difference, std::abs(static_cast<double>(x[i][label]) - y[i][label]));
    }
    result.counted += x.size();
    progress.add(group.size());
  });
  if (result.counted == 0) fail(ErrorCode::invalid_argument, "no text has a word to label");
  if (labelled) result.figures.push_back({"agreement", share(agreed, result.counted)});
  result.figures.push_back({"difference", difference});
}

void compare_layers(const Side& a, const Side& b, std::span<const EncodedText> texts, const CompareOptions& options,
                    Comparison& result) {
  LayerNoiseRun layers(a, b);
  result.no_layers = layers.refusal();
  if (!result.no_layers.empty()) return;
  Progress progress(options, "layers", texts.size());
  const auto cost = [&](const EncodedText& text) { return text.encoding.size() * layers.floats_per_token(); };
  for_each_group(texts, LayerNoiseRun::kFloats, cost, [&](std::span<const EncodedText> group) {
    layers.run(group, options.cancelled);
    progress.add(group.size());
  });
  result.layers = layers.result();
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < result.layers.size(); ++i) {
    const double decibels = result.layers[i].decibels;
    least = std::min(least, decibels);
    if (decibels < options.fallen && !result.first_fallen) result.first_fallen = i;
  }
  result.figures.push_back({"snr", least});
}

}  // namespace

std::optional<double> Comparison::figure(std::string_view name) const {
  for (const Figure& figure : figures) {
    if (figure.name == name) return figure.value;
  }
  return std::nullopt;
}

std::span<const FigureKind> figure_kinds() {
  static constexpr std::array kKinds = {FigureKind{"agreement"}, FigureKind{"agreement_led"}, FigureKind{"loss", true},
                                        FigureKind{"cosine"},    FigureKind{"cosine_min"},    FigureKind{"difference", true},
                                        FigureKind{"snr"}};
  return kKinds;
}

Comparison compare(const Side& a, const Side& b, std::span<const SampledText> texts, const CompareOptions& options) {
  if (texts.empty()) fail(ErrorCode::invalid_argument, "there is no text to compare on");
  Comparison result;
  result.task = task_of(a.model);
  if (const std::string other = task_of(b.model); other != result.task)
    fail(ErrorCode::unsupported, "{} is for {}, {} for {}", a.name, result.task, b.name, other);
  require_same_vocabulary(a, b);
  const std::vector<EncodedText> encoded =
      encode_texts(std::array{a.model, b.model}, texts, a.options.truncate || b.options.truncate);
  result.texts = texts.size();
  if (result.task == "fill-mask")
    compare_words(a, b, encoded, options, result);
  else if (result.task == "embed")
    compare_embeddings(a, b, texts, options, result);
  else
    compare_heads(a, b, encoded, options, result);
  compare_layers(a, b, encoded, options, result);
  return result;
}

}  // namespace bertie::calibration
