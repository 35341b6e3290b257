// How sure a masked-language model is of each word: every token of a text that is not special is masked in turn, and only the masked
// rows meet the vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "calibration/paired_run.h"

namespace bertie::calibration {

struct WordScore {
  int32_t best = 0;  // the most probable token; the lower id among equals
  double lead = 0;   // its probability less the second's
  double loss = 0;   // cross entropy of the token that stood there, nats
};

// `logits` [V]; the scores are NaN where a logit is. `stood` is below V.
WordScore score_word(std::span<const float> logits, int32_t stood);

// Masks about one word piece in `every` of a text, one at least, and wants its rows; which ones, `seed` and the text's line say. What stood
// there; nothing where the model has no mask token, or `every` is 0.
std::vector<int32_t> mask_some_words(const Model& model, const EncodedText& text, uint64_t every, uint64_t seed,
                                     tasks::Sequence& sequence);

class MaskedWords {
 public:
  // Throws Error(unsupported) where there is no head or no mask token.
  explicit MaskedWords(const Side& side);
  // One score a word, in the order of the texts.
  std::vector<WordScore> run(std::span<const EncodedText> texts, const Cancelled& cancelled);
  // Places of the tokens that are masked in turn: not special, and no mask already.
  std::vector<int32_t> places(const Encoding& encoding) const;

 private:
  SideRunner runner_;
  std::string logits_;  // the output's name
  int32_t mask_ = 0;
};

}  // namespace bertie::calibration
