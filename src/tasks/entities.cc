#include "tasks/entities.h"

#include <algorithm>

#include "tasks/task_model.h"

namespace bertie::tasks {
namespace {

using Entity = TagAnswer::Entity;

int32_t best_label(std::span<const float> scores) {
  return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

Entity entity_of(std::span<const float> scores, uint32_t start, uint32_t end, const std::vector<std::string>& labels) {
  const int32_t best = best_label(scores);
  return {label_name(labels, best), "", start, end, scores[static_cast<size_t>(best)]};
}

std::vector<float> mean_scores(std::span<const TaggedToken> word) {
  std::vector<float> mean(word[0].scores.size(), 0.0f);
  for (const TaggedToken& token : word) {
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += token.scores[i];
  }
  for (float& score : mean) score /= static_cast<float>(word.size());
  return mean;
}

// All tokens of a word get one label.
Entity word_entity(std::span<const TaggedToken> word, const std::vector<std::string>& labels, Grouping grouping) {
  const uint32_t start = word.front().start, end = word.back().end;
  if (grouping == Grouping::average) return entity_of(mean_scores(word), start, end, labels);
  const TaggedToken* chosen = &word.front();
  if (grouping == Grouping::max) {
    chosen = &*std::max_element(word.begin(), word.end(), [](const TaggedToken& a, const TaggedToken& b) {
      return *std::max_element(a.scores.begin(), a.scores.end()) < *std::max_element(b.scores.begin(), b.scores.end());
    });
  }
  return entity_of(chosen->scores, start, end, labels);
}

std::vector<Entity> words(std::span<const TaggedToken> tokens, const std::vector<std::string>& labels, Grouping grouping) {
  std::vector<Entity> result;
  for (size_t begin = 0; begin < tokens.size();) {
    size_t end = begin + 1;
    while (end < tokens.size() && tokens[end].continues_word) ++end;
    result.push_back(word_entity(tokens.subspan(begin, end - begin), labels, grouping));
    begin = end;
  }
  return result;
}

// Neighbours of one tag become one, except before a B-.
std::vector<Entity> merged(const std::vector<Entity>& parts) {
  std::vector<Entity> result;
  for (size_t begin = 0; begin < parts.size();) {
    size_t end = begin + 1;
    double sum = parts[begin].score;
    for (; end < parts.size(); ++end) {
      const auto [prefix, tag] = split_label(parts[end].label);
      if (prefix == 'B' || tag != split_label(parts[end - 1].label).second) break;
      sum += parts[end].score;
    }
    // The group's name is what follows the first dash, whatever stands before it.
    const std::string& label = parts[begin].label;
    const size_t dash = label.find('-');
    result.push_back({dash == std::string::npos ? label : label.substr(dash + 1), "", parts[begin].start, parts[end - 1].end,
                      static_cast<float>(sum / static_cast<double>(end - begin))});
    begin = end;
  }
  return result;
}

}  // namespace

std::pair<char, std::string_view> split_label(std::string_view label) {
  if (label.starts_with("B-") || label.starts_with("I-")) return {label[0], label.substr(2)};
  return {'I', label};
}

std::vector<Entity> group_entities(std::span<const TaggedToken> tokens, const std::vector<std::string>& labels, Grouping grouping,
                                   const std::vector<std::string>& ignored) {
  std::vector<Entity> entities;
  if (grouping == Grouping::none || grouping == Grouping::simple) {
    for (const TaggedToken& token : tokens) entities.push_back(entity_of(token.scores, token.start, token.end, labels));
  } else {
    entities = words(tokens, labels, grouping);
  }
  if (grouping != Grouping::none) entities = merged(entities);
  std::erase_if(entities,
                [&](const Entity& entity) { return std::find(ignored.begin(), ignored.end(), entity.label) != ignored.end(); });
  return entities;
}

}  // namespace bertie::tasks
