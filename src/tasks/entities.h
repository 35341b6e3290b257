// Grouping tagged tokens into entities: Hugging Face's aggregation strategies.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bertie/tasks.h"

namespace bertie::tasks {

// A token that belongs to the text (special ones are left out), with its softmax over the labels.
struct TaggedToken {
  uint32_t start = 0;  // Unicode characters
  uint32_t end = 0;
  bool continues_word = false;
  std::vector<float> scores;
};

// "B-PER" -> {'B', "PER"}; a label without prefix continues: {'I', label}.
std::pair<char, std::string_view> split_label(std::string_view label);

// Entities in text order, without `text`, the ignored labels left out.
std::vector<TagAnswer::Entity> group_entities(std::span<const TaggedToken> tokens, const std::vector<std::string>& labels,
                                              Grouping grouping, const std::vector<std::string>& ignored);

}  // namespace bertie::tasks
