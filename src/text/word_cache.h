// Recent words and their tokens, per thread: real text repeats its words.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/model.h"

namespace bertie::text {

// Direct-mapped, of fixed size (256 KiB a thread), shared by all models of the thread: an entry belongs to a model.
class WordCache {
 public:
  // One number a model, so that models never see each other's words.
  static uint32_t new_owner();
  static WordCache& of_this_thread();

  // Appends the tokens of `word` to `out` and returns true where they are known.
  bool find(uint32_t owner, std::string_view word, std::vector<ModelToken>& out) const;
  // Keeps tokens [first, tokens.size()) for `word` where they are short, few and contiguous.
  void keep(uint32_t owner, std::string_view word, const std::vector<ModelToken>& tokens, size_t first);

 private:
  static constexpr size_t kEntries = 4096, kMaxTokens = 6, kMaxBytes = 28;

  struct alignas(64) Entry {
    uint32_t owner = 0;  // 0: free
    uint8_t size = 0, count = 0;
    uint8_t ends[kMaxTokens];
    int32_t ids[kMaxTokens];
    char word[kMaxBytes];
  };
  static_assert(sizeof(Entry) == 64);

  WordCache() : entries_(kEntries) {}

  std::vector<Entry> entries_;
};

}  // namespace bertie::text
