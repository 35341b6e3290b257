#include "tasks/entities.h"

#include <gtest/gtest.h>

namespace bertie::tasks {
namespace {

const std::vector<std::string> kLabels = {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"};

// A token whose surest label is `label` with probability `score`, the rest spread evenly.
TaggedToken token(uint32_t start, uint32_t end, size_t label, float score = 0.8f, bool continues_word = false) {
  std::vector<float> scores(kLabels.size(), (1.0f - score) / static_cast<float>(kLabels.size() - 1));
  scores[label] = score;
  return {start, end, continues_word, scores};
}

std::string describe(const std::vector<TagAnswer::Entity>& entities) {
  std::string text;
  for (const auto& entity : entities) {
    text += entity.label + ":" + std::to_string(entity.start) + "-" + std::to_string(entity.end) + " ";
  }
  return text;
}

std::string grouped(const std::vector<TaggedToken>& tokens, Grouping grouping) {
  return describe(group_entities(tokens, kLabels, grouping, {"O"}));
}

TEST(Entities, NoneKeepsEveryTokenAndItsPrefix) {
  EXPECT_EQ(grouped({token(0, 2, 1), token(2, 4, 2), token(5, 6, 0), token(7, 9, 3)}, Grouping::none),
            "B-PER:0-2 I-PER:2-4 B-LOC:7-9 ");
}

TEST(Entities, SimpleMergesNeighboursOfOneTag) {
  EXPECT_EQ(grouped({token(0, 2, 1), token(3, 5, 2), token(6, 8, 4)}, Grouping::simple), "PER:0-5 LOC:6-8 ");
  EXPECT_EQ(grouped({token(0, 2, 1), token(3, 5, 1)}, Grouping::simple), "PER:0-2 PER:3-5 ");  // B- starts anew
  EXPECT_EQ(grouped({token(0, 2, 2), token(3, 5, 0), token(6, 8, 2)}, Grouping::simple), "PER:0-2 PER:6-8 ");
  EXPECT_EQ(grouped({}, Grouping::simple), "");
}

TEST(Entities, SimpleScoreIsTheMean) {
  const std::vector<TaggedToken> tokens = {token(0, 2, 1, 0.9f), token(3, 5, 2, 0.7f)};
  EXPECT_FLOAT_EQ(group_entities(tokens, kLabels, Grouping::simple, {"O"})[0].score, 0.8f);
}

TEST(Entities, WordsTakeOneLabel) {
  // "Wash|ing|ton": LOC, PER (surest), LOC.
  const std::vector<TaggedToken> tokens = {token(0, 4, 3, 0.6f), token(4, 7, 2, 0.9f, true), token(7, 10, 4, 0.5f, true)};
  EXPECT_EQ(grouped(tokens, Grouping::simple), "LOC:0-4 PER:4-7 LOC:7-10 ");
  EXPECT_EQ(grouped(tokens, Grouping::first), "LOC:0-10 ");
  EXPECT_EQ(grouped(tokens, Grouping::max), "PER:0-10 ");
  const auto average = group_entities(tokens, kLabels, Grouping::average, {"O"});
  ASSERT_EQ(average.size(), 1u);
  EXPECT_EQ(average[0].label, "PER");
  EXPECT_NEAR(average[0].score, (0.1 + 0.9 + 0.125) / 3, 1e-6);
}

TEST(Entities, FirstTokenMayContinueNothing) { EXPECT_EQ(grouped({token(0, 3, 1, 0.8f, true)}, Grouping::first), "PER:0-3 "); }

TEST(Entities, LabelsWithoutPrefix) {
  const std::vector<std::string> labels = {"O", "PER", "X-Y-Z"};
  const std::vector<TaggedToken> tokens = {
      {0, 1, false, {0.1f, 0.8f, 0.1f}}, {2, 3, false, {0.1f, 0.8f, 0.1f}}, {4, 5, false, {0.1f, 0.1f, 0.8f}}};
  EXPECT_EQ(describe(group_entities(tokens, labels, Grouping::simple, {"O"})), "PER:0-3 Y-Z:4-5 ");
}

}  // namespace
}  // namespace bertie::tasks
