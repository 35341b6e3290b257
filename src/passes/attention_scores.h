// What becomes of the raw scores q k^T until they weigh the values: found by running it, so that it does not matter whether a mask
// is added, chosen by Where, multiplied out, expanded or guarded against NaN.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "bertie/network.h"

namespace bertie {

struct ScoreMeaning {
  double scale = 1;               // of the raw scores
  ValueId mask = kNone;           // the network's input, or kNone: every key is attended
  ValueId relative_bias = kNone;  // a constant [H, 2P-1], or kNone
  ValueId bias = kNone;           // what the network adds otherwise, [B or 1, H or 1, S or 1, S], or kNone
};

class ScoreReader {
 public:
  explicit ScoreReader(Network& network) : network_(network) {}

  // `scores` [B, H, S, S] or [B*H, S, S], `weights` of the same shape; B and S as `batch` and `sequence` spell them.
  // Where it is not softmax(scale * scores + bias + mask) over the keys, `reason` says why.
  std::optional<ScoreMeaning> read(ValueId scores, ValueId weights, int64_t heads, const Dim& batch, const Dim& sequence,
                                   std::string& reason);
  // The same of softmax(scale * scores + bias) over all keys, whatever the bias is made of, by the ops that are there. nullopt: no bias by query
  // and key, or something else too.
  std::optional<ScoreMeaning> read_with_bias(ValueId scores, ValueId weights, int64_t heads, const Dim& batch,
                                             const Dim& sequence);

 private:
  ValueId relative_bias(ValueId scores, ValueId logits, int64_t heads, const Dim& batch, const Dim& sequence,
                        std::string& reason);

  Network& network_;
  std::map<ValueId, ValueId> biases_;  // by the value that was added: layers share one
};

}  // namespace bertie
