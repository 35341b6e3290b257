// Search for the best answer spans in one window: Hugging Face's `decode_spans`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bertie::tasks {

struct TokenSpan {
  size_t first = 0;  // tokens of the window, both included
  size_t last = 0;
  double score = 0;  // start probability times end probability
};

struct WindowSpans {
  std::vector<TokenSpan> spans;  // best first
  double no_answer = 0;          // the first token's own score: "there is no answer here"
};

// Probabilities are softmaxes over the `candidate` tokens and the first token; spans are of candidates alone, at most
// max_tokens long, the `count` best of them.
WindowSpans best_spans(std::span<const float> start_logits, std::span<const float> end_logits, std::span<const uint8_t> candidate,
                       size_t count, size_t max_tokens);

}  // namespace bertie::tasks
