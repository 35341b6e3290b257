#include "answers.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace bertie::cli {
namespace {

constexpr size_t kShownText = 300;  // bytes of a text in a table
constexpr size_t kShownValues = 8;  // numbers of an embedding in a table

std::string shown(const std::string& text) {
  if (text.size() <= kShownText) return text;
  size_t end = kShownText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

Json span_json(const QuestionAnswer::Span& span) {
  return {{"answer", span.answer}, {"start", span.start}, {"end", span.end}, {"score", span.score}};
}

}  // namespace

Json to_json(const std::string& text, const FillMaskAnswer& answer) {
  Json masks = Json::array();
  for (const auto& mask : answer.masks) {
    Json candidates = Json::array();
    for (const auto& candidate : mask.candidates) {
      candidates.push_back(
          {{"token", candidate.token}, {"id", candidate.id}, {"score", candidate.score}, {"text", candidate.text}});
    }
    masks.push_back({{"position", mask.position}, {"candidates", std::move(candidates)}});
  }
  return {{"text", text}, {"masks", std::move(masks)}};
}

Json to_json(const ClassifyItem& item, const ClassifyAnswer& answer) {
  Json row = {{"text", item.text}};
  if (item.text_pair) row["text_pair"] = *item.text_pair;
  Json labels = Json::array();
  for (const auto& label : answer.labels) labels.push_back({{"label", label.label}, {"score", label.score}});
  row["labels"] = std::move(labels);
  return row;
}

Json to_json(const std::string& text, const TagAnswer& answer) {
  Json entities = Json::array();
  for (const auto& entity : answer.entities) {
    entities.push_back(
        {{"label", entity.label}, {"text", entity.text}, {"start", entity.start}, {"end", entity.end}, {"score", entity.score}});
  }
  return {{"text", text}, {"entities", std::move(entities)}};
}

Json to_json(const Question& item, const QuestionAnswer& answer) {
  Json row = {{"question", item.question}};
  row.update(span_json(answer.spans.front()));
  if (answer.spans.size() > 1) {
    Json all = Json::array();
    for (const auto& span : answer.spans) all.push_back(span_json(span));
    row["answers"] = std::move(all);
  }
  return row;
}

Json to_json(const std::string& text, const std::vector<float>& embedding) { return {{"text", text}, {"embedding", embedding}}; }

Json to_json(const std::string& query, const std::vector<Ranked>& ranked) {
  Json results = Json::array();
  for (const Ranked& one : ranked) results.push_back({{"index", one.index}, {"score", one.score}});
  return {{"query", query}, {"results", std::move(results)}};
}

std::string to_table(const std::string& text, const FillMaskAnswer& answer) {
  std::string table = shown(text);
  for (const auto& mask : answer.masks) {
    if (answer.masks.size() > 1) table += fmt::format("\n mask at token {}", mask.position);
    for (const auto& candidate : mask.candidates) {
      table += fmt::format("\n  {:7.3f}%  {}", 100.0 * candidate.score, candidate.token);
    }
  }
  return table;
}

std::string to_table(const ClassifyItem& item, const ClassifyAnswer& answer) {
  std::string table = shown(item.text);
  if (item.text_pair) table += fmt::format("\n{}", shown(*item.text_pair));
  for (const auto& label : answer.labels) table += fmt::format("\n  {:9.5f}  {}", label.score, label.label);
  return table;
}

std::string to_table(const std::string& text, const TagAnswer& answer) {
  std::string table = shown(text);
  for (const auto& entity : answer.entities) {
    table +=
        fmt::format("\n  {:7.5f}  {:<8}  {:>5}-{:<5}  {}", entity.score, entity.label, entity.start, entity.end, entity.text);
  }
  return table;
}

std::string to_table(const Question& item, const QuestionAnswer& answer) {
  std::string table = shown(item.question);
  for (const auto& span : answer.spans) {
    const std::string text = span.answer.empty() ? "(no answer)" : span.answer;
    table += fmt::format("\n  {:7.5f}  {:>5}-{:<5}  {}", span.score, span.start, span.end, text);
  }
  return table;
}

std::string to_table(const std::string& text, const std::vector<float>& embedding) {
  double square = 0;
  for (float value : embedding) square += static_cast<double>(value) * value;
  std::string table = fmt::format("{}\n  {} values, length {:.4f}:", shown(text), embedding.size(), std::sqrt(square));
  for (size_t i = 0; i < std::min(embedding.size(), kShownValues); ++i) table += fmt::format(" {:.4f}", embedding[i]);
  return table + (embedding.size() > kShownValues ? " ..." : "");
}

std::string to_table(const std::string& query, const std::vector<Ranked>& ranked, const std::vector<std::string>& texts) {
  std::string table = shown(query);
  for (const Ranked& one : ranked) table += fmt::format("\n  {:9.5f}  {:>4}  {}", one.score, one.index, shown(texts[one.index]));
  return table;
}

}  // namespace bertie::cli
