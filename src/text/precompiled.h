// SentencePiece's precompiled character map: a double-array trie of byte strings and the texts that replace them.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"

namespace bertie::text {

// Applied grapheme by grapheme, as Hugging Face does (the `spm_precompiled` crate).
class Precompiled final : public Normalizer {
 public:
  // Throws Error(invalid_file) where "precompiled_charsmap" is not base64 of such a map.
  explicit Precompiled(const JsonFields& fields);
  void apply(AlignedText& text, AlignedText& spare) const override;

  // What stands for the shortest prefix of `text` that the map has, if any.
  std::optional<std::string_view> replacement(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;  // each ends with a zero byte
  std::array<bool, 128> ascii_changes_{};
};

}  // namespace bertie::text
