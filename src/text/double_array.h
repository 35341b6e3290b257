// A trie of byte strings as a double array (Aoe, "An Efficient Digital Search Algorithm by Using a Double-Array
// Structure", 1989, with XOR offsets as in darts-clone): one load and one compare a byte.
//
// A node is known by its base; its child for byte c, if any, is the unit at base ^ c. Every node has a base of its own, so
// that a unit's label alone tells whose child it is. Base 0 has no children: leaves and failed steps have it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace bertie::text {

class DoubleArray {
 public:
  struct Step {
    uint32_t base;  // of the child; 0 where no longer key follows
    int32_t value;  // id of the piece that ends here, -1 for none
    bool found;
  };

  // Of all pieces of `vocabulary`, with their ids as values; the empty piece is left out. Throws Error(limit_exceeded).
  explicit DoubleArray(const Vocabulary& vocabulary);

  uint32_t root() const { return root_; }
  // The base reached from the root by `prefix`; 0 where no longer key starts with it.
  uint32_t descend(std::string_view prefix) const;

  Step step(uint32_t base, unsigned char label) const {
    const uint64_t unit = units_[base ^ label];
    return {static_cast<uint32_t>(unit >> kBaseShift), static_cast<int32_t>(unit & kValueMask) - 1,
            ((unit >> kLabelShift) & kLabelMask) == label + 1u};
  }

 private:
  friend class DoubleArrayBuilder;

  // A unit: 30 bits of base, 9 of label + 1 (0: free), 25 of value + 1.
  static constexpr int kLabelShift = 25, kBaseShift = 34;
  static constexpr uint64_t kValueMask = (1u << 25) - 1, kLabelMask = (1u << 9) - 1;

  std::vector<uint64_t> units_;
  uint32_t root_ = 0;
};

}  // namespace bertie::text
