#include "text/double_array.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace bertie::text {
namespace {

// Value and whether the key could go on, by the trie.
struct Found {
  int32_t value = -1;
  bool reached = true;
};

Found look_up(const DoubleArray& trie, const std::string& key) {
  Found found;
  uint32_t base = trie.root();
  for (const char c : key) {
    const DoubleArray::Step step = trie.step(base, static_cast<unsigned char>(c));
    if (!step.found) return {-1, false};
    found.value = step.value;
    base = step.base;
  }
  return found;
}

void check_against_map(const std::map<std::string, int32_t>& keys, const std::vector<std::string>& others) {
  StringPool pieces;
  std::vector<int32_t> ids;
  for (const auto& [key, id] : keys) {
    pieces.add(key);
    ids.push_back(id);
  }
  const DoubleArray trie(Vocabulary(std::move(pieces), std::move(ids), "test"));
  const auto is_prefix = [&](const std::string& text) {
    const auto next = keys.lower_bound(text);
    return next != keys.end() && next->first.starts_with(text);
  };
  const auto check = [&](const std::string& text) {
    if (text.empty()) return;
    const auto known = keys.find(text);
    const Found found = look_up(trie, text);
    EXPECT_EQ(found.value, known == keys.end() ? -1 : known->second) << testing::PrintToString(text);
    EXPECT_EQ(found.reached, is_prefix(text)) << testing::PrintToString(text);
  };
  for (const auto& [key, id] : keys) {
    check(key);
    check(key + '\0');
    check(key + "z");
    check(key.substr(0, key.size() / 2));
  }
  for (const std::string& other : others) check(other);
}

TEST(DoubleArray, Empty) {
  check_against_map({}, {"a", std::string(1, '\0')});
  check_against_map({{"", 3}}, {"a"});
}

TEST(DoubleArray, EveryByteUnderEveryByte) {
  std::map<std::string, int32_t> keys;
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; second += 1 + first % 7) {
      keys[{static_cast<char>(first), static_cast<char>(second)}] = first * 256 + second;
    }
    keys[std::string(1, static_cast<char>(first))] = (1 << 24) - 1 - first;
  }
  check_against_map(keys, {});
}

TEST(DoubleArray, RandomKeys) {
  std::mt19937 random(7);
  for (const int letters : {1, 2, 3, 26, 256}) {
    const auto text = [&] {
      std::string result(random() % 20, '\0');
      for (char& c : result) c = static_cast<char>(random() % static_cast<unsigned>(letters));
      return result;
    };
    std::map<std::string, int32_t> keys;
    for (int32_t i = 0; i < 3000; ++i) keys.emplace(text(), i);
    std::vector<std::string> others;
    for (int i = 0; i < 3000; ++i) others.push_back(text());
    check_against_map(keys, others);
  }
}

TEST(DoubleArray, OneLongKey) { check_against_map({{std::string(100'000, 'a'), 1}, {std::string(50'000, 'a') + "b", 2}}, {"b"}); }

TEST(DoubleArray, Descends) {
  StringPool pieces;
  for (const char* piece : {"##", "##a", "#b", "ab"}) pieces.add(piece);
  const DoubleArray trie{Vocabulary(std::move(pieces))};
  EXPECT_EQ(trie.descend(""), trie.root());
  EXPECT_EQ(trie.step(trie.descend("##"), 'a').value, 1);
  EXPECT_EQ(trie.descend("ab"), 0u);
  EXPECT_EQ(trie.descend("x"), 0u);
  EXPECT_FALSE(trie.step(0, 'a').found);
}

}  // namespace
}  // namespace bertie::text
