#include "text/word_cache.h"

#include <atomic>
#include <cstring>

#include "text/hash.h"

namespace bertie::text {

uint32_t WordCache::new_owner() {
  static std::atomic<uint32_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

WordCache& WordCache::of_this_thread() {
  thread_local WordCache cache;
  return cache;
}

bool WordCache::find(uint32_t owner, std::string_view word, std::vector<ModelToken>& out) const {
  if (word.size() > kMaxBytes) return false;
  const Entry& entry = entries_[hash_bytes(word) % kEntries];
  if (entry.owner != owner || entry.size != word.size() || std::memcmp(entry.word, word.data(), word.size()) != 0) return false;
  uint32_t begin = 0;
  for (size_t i = 0; i < entry.count; ++i) {
    out.push_back({entry.ids[i], begin, entry.ends[i]});
    begin = entry.ends[i];
  }
  return true;
}

void WordCache::keep(uint32_t owner, std::string_view word, const std::vector<ModelToken>& tokens, size_t first) {
  const size_t count = tokens.size() - first;
  if (word.empty() || word.size() > kMaxBytes || count > kMaxTokens) return;
  uint32_t begin = 0;
  for (size_t i = first; i < tokens.size(); ++i) {
    if (tokens[i].begin != begin || tokens[i].end > UINT8_MAX) return;
    begin = tokens[i].end;
  }
  Entry& entry = entries_[hash_bytes(word) % kEntries];
  entry.owner = owner;
  entry.size = static_cast<uint8_t>(word.size());
  entry.count = static_cast<uint8_t>(count);
  for (size_t i = 0; i < count; ++i) {
    entry.ids[i] = tokens[first + i].id;
    entry.ends[i] = static_cast<uint8_t>(tokens[first + i].end);
  }
  std::memcpy(entry.word, word.data(), word.size());
}

}  // namespace bertie::text
