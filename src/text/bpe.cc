#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/error.h"
#include "text/byte_pieces.h"
#include "text/hash.h"
#include "text/word_cache.h"

namespace bertie::text {

namespace {

constexpr size_t kShortWord = 48;         // symbols; beyond, a heap beats scanning
constexpr size_t kKeptSymbols = 1 << 16;  // scratch kept between calls

size_t character_size(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

}  // namespace

struct Bpe::Scratch {
  std::vector<Symbol> symbols;
  std::vector<uint32_t> ranks;  // of the pair that a symbol begins
  // merge_long alone:
  std::vector<uint32_t> left, right;  // neighbours
  std::vector<uint64_t> heap;         // rank in the upper half, position in the lower
  std::string affixed;
};

Bpe::Bpe(Vocabulary vocabulary, const StringPool& merges, BpeOptions options, const std::string& file)
    : VocabularyModel(std::move(vocabulary)),
      options_(std::move(options)),
      byte_ids_(find_byte_pieces(vocabulary_)),
      cache_owner_(WordCache::new_owner()) {
  if (options_.unknown_token) unknown_id_ = vocabulary_.find(*options_.unknown_token);
  for (int32_t code_point = 0; code_point < kTableCodePoints; ++code_point) {
    const std::array<char, 2> two{static_cast<char>(0xc0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3f))};
    const auto one = static_cast<char>(code_point);
    const std::string_view character = code_point < 0x80 ? std::string_view(&one, 1) : std::string_view(two.data(), 2);
    character_ids_[static_cast<size_t>(code_point)] = vocabulary_.find(character);
  }
  add_merges(merges, file);
}

void Bpe::add_merges(const StringPool& merges, const std::string& file) {
  const size_t count = merges.size() / 2;
  merges_.resize(std::bit_ceil(std::max<size_t>(2 * count, 16)));
  merged_ids_.reserve(count);
  std::string joined;
  for (size_t rank = 0; rank < count; ++rank) {
    const std::string_view left = merges[2 * rank], right = merges[2 * rank + 1];
    if (right.size() < options_.continuation_prefix.size()) {
      fail(ErrorCode::invalid_file, "{}: model.merges[{}]: \"{}\" is shorter than the continuing_subword_prefix", file, rank,
           right);
    }
    joined.assign(left);
    joined.append(right.substr(options_.continuation_prefix.size()));
    const int32_t left_id = vocabulary_.find(left), right_id = vocabulary_.find(right), joined_id = vocabulary_.find(joined);
    if (left_id < 0 || right_id < 0 || joined_id < 0) {
      fail(ErrorCode::invalid_file, "{}: model.merges[{}]: \"{}\" and \"{}\", {} not in model.vocab", file, rank, left, right,
           left_id < 0    ? "the first is"
           : right_id < 0 ? "the second is"
                          : "joined, are");
    }
    const auto pair = static_cast<uint64_t>(left_id) << 32 | static_cast<uint32_t>(right_id);
    merged_ids_.push_back(joined_id);
    // Of a pair that occurs twice the last place counts.
    merges_[find_slot(pair)] = {pair, static_cast<uint32_t>(rank)};
    every_merge_grows_ =
        every_merge_grows_ && joined.size() > std::max(left.size(), right.size() - options_.continuation_prefix.size());
  }
}

size_t Bpe::find_slot(uint64_t pair) const {
  const size_t mask = merges_.size() - 1;
  size_t at = mix_hash(pair, 0x9e3779b97f4a7c15ull) & mask;
  while (merges_[at].pair != pair && merges_[at].pair != kFreeSlot) at = (at + 1) & mask;
  return at;
}

std::optional<int32_t> Bpe::unknown_id() const { return unknown_id_ < 0 ? std::nullopt : std::optional(unknown_id_); }

void Bpe::tokenize(std::string_view pretoken, std::vector<ModelToken>& out) const {
  if (pretoken.empty()) return;
  WordCache& cache = WordCache::of_this_thread();
  if (cache.find(cache_owner_, pretoken, out)) return;

  const size_t first = out.size();
  const int32_t whole = options_.ignore_merges ? vocabulary_.find(pretoken) : -1;
  if (whole >= 0) {
    out.push_back({whole, 0, static_cast<uint32_t>(pretoken.size())});
  } else {
    thread_local Scratch scratch;
    split(pretoken, scratch);
    // Scanning takes the same merges as the heap, unless a merge adds nothing to one of its parts.
    if (scratch.symbols.size() <= kShortWord && every_merge_grows_) {
      merge_short(scratch);
    } else {
      merge_long(scratch);
    }
    // Spelled bytes of an affix have a size but no place in the word: they get its last byte (Hugging Face's run past the end).
    const auto size = static_cast<uint32_t>(pretoken.size());
    uint32_t begin = 0;
    for (const Symbol& symbol : scratch.symbols) {
      if (symbol.size == 0) continue;
      out.push_back({symbol.id, std::min(begin, size - 1), std::min(begin + symbol.size, size)});
      begin += symbol.size;
    }
    if (scratch.symbols.capacity() > kKeptSymbols) scratch = {};
  }
  cache.keep(cache_owner_, pretoken, out, first);
}

int32_t Bpe::character_id(std::string_view character, bool is_first, bool is_last, std::string& affixed) const {
  const std::string_view prefix = is_first ? std::string_view{} : options_.continuation_prefix;
  const std::string_view suffix = is_last ? options_.word_suffix : std::string_view{};
  if (prefix.empty() && suffix.empty()) {
    affixed.assign(character);
    const auto lead = static_cast<unsigned char>(character[0]);
    if (character.size() == 1 && lead < 0x80) return character_ids_[lead];
    if (character.size() == 2 && lead < 0xe0)
      return character_ids_[(lead & 0x1fu) << 6 | (static_cast<unsigned char>(character[1]) & 0x3fu)];
  } else {
    affixed.assign(prefix).append(character).append(suffix);
  }
  return vocabulary_.find(affixed);
}

void Bpe::split(std::string_view word, Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  uint32_t pending_unknown = 0;  // bytes of the unknown token not yet added
  const auto flush_unknown = [&] {
    if (pending_unknown != 0) symbols.push_back({unknown_id_, pending_unknown});
    pending_unknown = 0;
  };
  for (size_t at = 0; at < word.size();) {
    const std::string_view character = word.substr(at, character_size(word[at]));
    const bool is_first = at == 0;
    at += character.size();
    const int32_t id = character_id(character, is_first, at == word.size(), scratch.affixed);
    if (id >= 0) {
      flush_unknown();
      symbols.push_back({id, static_cast<uint32_t>(character.size())});
      continue;
    }
    if (options_.byte_fallback) {
      const auto byte_id = [this](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
      const std::string& spelled = scratch.affixed;
      if (std::all_of(spelled.begin(), spelled.end(), [&](char c) { return byte_id(c) >= 0; })) {
        // As in Hugging Face's: a pending unknown token stays pending, and comes after these.
        for (const char c : spelled) symbols.push_back({byte_id(c), 1});
        continue;
      }
    }
    if (!options_.unknown_token) continue;
    if (unknown_id_ < 0) {
      fail(ErrorCode::invalid_text, "the vocabulary has no piece for \"{}\" and no unknown token \"{}\"", character,
           *options_.unknown_token);
    }
    if (!options_.fuse_unknown) flush_unknown();
    pending_unknown += static_cast<uint32_t>(character.size());
  }
  flush_unknown();
}

// Quadratic, but without a heap: the usual word has few symbols.
void Bpe::merge_short(Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  size_t count = symbols.size();
  if (count < 2) return;
  scratch.ranks.resize(count);
  uint32_t* ranks = scratch.ranks.data();
  for (size_t i = 0; i + 1 < count; ++i) ranks[i] = rank_of(symbols[i].id, symbols[i + 1].id);
  while (count > 1) {
    const size_t best = static_cast<size_t>(std::min_element(ranks, ranks + count - 1) - ranks);
    if (ranks[best] == kNoMerge) break;
    symbols[best].id = merged_ids_[ranks[best]];
    symbols[best].size += symbols[best + 1].size;
    std::move(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 2, symbols.begin() + static_cast<std::ptrdiff_t>(count),
              symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    --count;
    if (best + 1 < count) {
      std::move(ranks + best + 2, ranks + count, ranks + best + 1);
      ranks[best] = rank_of(symbols[best].id, symbols[best + 1].id);
    }
    if (best > 0) ranks[best - 1] = rank_of(symbols[best - 1].id, symbols[best].id);
  }
  symbols.resize(count);
}

// n log n: a linked list of symbols and a heap of the pairs that may be merged, outdated ones among them.
void Bpe::merge_long(Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  const size_t count = symbols.size();
  constexpr uint32_t kNone = ~uint32_t{0};
  scratch.ranks.assign(count, kNoMerge);
  scratch.left.resize(count);
  scratch.right.resize(count);
  std::vector<uint64_t>& heap = scratch.heap;
  heap.clear();
  const auto rank_pair = [&](uint32_t at) {
    const uint32_t rank = rank_of(symbols[at].id, symbols[scratch.right[at]].id);
    scratch.ranks[at] = rank;
    if (rank != kNoMerge) heap.push_back(static_cast<uint64_t>(rank) << 32 | at);
    return rank != kNoMerge;
  };
  const auto push_pair = [&](uint32_t at) {
    if (rank_pair(at)) std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  for (size_t i = 0; i < count; ++i) {
    scratch.left[i] = i == 0 ? kNone : static_cast<uint32_t>(i - 1);
    scratch.right[i] = i + 1 == count ? kNone : static_cast<uint32_t>(i + 1);
  }
  for (size_t i = 0; i + 1 < count; ++i) rank_pair(static_cast<uint32_t>(i));
  std::make_heap(heap.begin(), heap.end(), std::greater<>());

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto at = static_cast<uint32_t>(heap.back());
    const auto rank = static_cast<uint32_t>(heap.back() >> 32);
    heap.pop_back();
    const uint32_t next = scratch.right[at];
    if (symbols[at].size == 0 || next == kNone) continue;
    // Outdated, unless the pair that is there now gives the same piece.
    if (scratch.ranks[at] == kNoMerge || merged_ids_[scratch.ranks[at]] != merged_ids_[rank]) continue;

    symbols[at].id = merged_ids_[rank];
    symbols[at].size += symbols[next].size;
    symbols[next].size = 0;
    scratch.right[at] = scratch.right[next];
    scratch.ranks[at] = kNoMerge;
    if (scratch.right[at] != kNone) scratch.left[scratch.right[at]] = at;
    if (scratch.left[at] != kNone) push_pair(scratch.left[at]);
    if (scratch.right[at] != kNone) push_pair(at);
  }
}

}  // namespace bertie::text
