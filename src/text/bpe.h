// Byte pair encoding: the characters of a word, joined pair by pair in the order of the merges (Sennrich et al. 2016).
#pragma once

#include <array>

#include "text/vocabulary.h"

namespace bertie::text {

struct BpeOptions {
  std::optional<std::string> unknown_token;  // without one, unknown characters vanish
  std::string continuation_prefix;           // before each character but the first
  std::string word_suffix;                   // after the last character
  bool fuse_unknown = false;                 // neighbouring unknown characters become one token
  bool byte_fallback = false;                // spell unknown characters as pieces <0x00> to <0xFF>
  bool ignore_merges = false;                // a word that is a piece stays whole, whatever the merges
};

class Bpe final : public VocabularyModel {
 public:
  // `merges` holds left, right, left, right, ...: the first pair has the highest rank.
  // Throws Error(invalid_file) naming a merge whose parts or result are not in the vocabulary.
  Bpe(Vocabulary vocabulary, const StringPool& merges, BpeOptions options, const std::string& file);

  void tokenize(std::string_view pretoken, std::vector<ModelToken>& out) const override;
  std::optional<int32_t> unknown_id() const override;

 private:
  struct Symbol {
    int32_t id;
    uint32_t size;  // bytes of the pre-token it stands for; 0 once joined to its left neighbour
  };
  struct Scratch;

  static constexpr uint32_t kNoMerge = ~uint32_t{0};
  static constexpr uint64_t kFreeSlot = ~uint64_t{0};
  static constexpr int32_t kTableCodePoints = 0x800;

  struct MergeSlot {
    uint64_t pair = kFreeSlot;  // left id in the upper half, right id in the lower
    uint32_t rank = kNoMerge;
  };

  void add_merges(const StringPool& merges, const std::string& file);
  size_t find_slot(uint64_t pair) const;
  uint32_t rank_of(int32_t left, int32_t right) const {
    return merges_[find_slot(static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right))].rank;
  }

  void split(std::string_view word, Scratch& scratch) const;
  int32_t character_id(std::string_view character, bool is_first, bool is_last, std::string& affixed) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;

  BpeOptions options_;
  int32_t unknown_id_ = -1;                              // -1 where not stated or not in the vocabulary
  std::array<int32_t, kTableCodePoints> character_ids_;  // ids of the first code points alone
  std::array<int32_t, 256> byte_ids_;                    // of <0x00> to <0xFF>; -1 where there is none
  std::vector<MergeSlot> merges_;                        // open addressing, at most half full
  std::vector<int32_t> merged_ids_;                      // of each rank
  bool every_merge_grows_ = true;
  uint32_t cache_owner_;
};

}  // namespace bertie::text
