#include "text/double_array.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace bertie::text {

namespace {

struct Key {
  uint64_t head;  // the first eight bytes, so that they compare as numbers; zeros after the end
  uint32_t index;
  uint32_t size;
};

uint64_t head_of(std::string_view text) {
  std::array<unsigned char, 8> bytes{};
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), std::min<size_t>(text.size(), 8));
  uint64_t head = 0;
  for (const unsigned char byte : bytes) head = head << 8 | byte;
  return head;
}

using Bits = std::array<uint64_t, 4>;  // one bit a unit of a block of 256
bool has_bit(const Bits& bits, uint32_t i) { return bits[i >> 6] >> (i & 63) & 1; }
void flip_bit(Bits& bits, uint32_t i) { bits[i >> 6] ^= uint64_t{1} << (i & 63); }

}  // namespace

class DoubleArrayBuilder {
 public:
  DoubleArrayBuilder(const Vocabulary& vocabulary, DoubleArray& array) : pieces_(vocabulary.pieces()), array_(array) {
    keys_.reserve(pieces_.size());
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (!pieces_[i].empty())
        keys_.push_back({head_of(pieces_[i]), static_cast<uint32_t>(i), static_cast<uint32_t>(pieces_[i].size())});
    }
    std::sort(keys_.begin(), keys_.end(), [this](const Key& a, const Key& b) {
      if (a.head != b.head) return a.head < b.head;
      const int order = pieces_[a.index].compare(pieces_[b.index]);
      return order != 0 ? order < 0 : a.index < b.index;
    });

    add_block();  // of base 0, without nodes
    if (keys_.empty()) return;
    std::vector<Node> open{{0, static_cast<uint32_t>(keys_.size()), 0, 0}};
    while (!open.empty()) {
      const Node node = open.back();
      open.pop_back();
      expand(node, vocabulary, open);
    }
  }

 private:
  struct Node {
    uint32_t first, last;  // its keys
    uint32_t depth;
    uint32_t unit;  // 0 for the root
  };
  struct Block {
    Bits free;       // units without a node
    Bits free_base;  // bases without a node
    uint32_t failures = 0;
  };

  static constexpr uint32_t kMaxBlocks = 1u << 22;  // bases have 30 bits
  static constexpr size_t kOpenBlocks = 16;         // more pack tighter and build slower
  static constexpr uint32_t kMaxFailures = 8;

  unsigned char byte_at(const Key& key, uint32_t depth) const {
    if (depth < 8) return static_cast<unsigned char>(key.head >> (56 - 8 * depth));
    return static_cast<unsigned char>(pieces_[key.index][depth]);
  }

  void expand(Node node, const Vocabulary& vocabulary, std::vector<Node>& open) {
    // The keys that are this node itself come first in its range.
    while (node.first < node.last && keys_[node.first].size == node.depth) {
      uint64_t& unit = array_.units_[node.unit];
      unit = (unit & ~DoubleArray::kValueMask) | static_cast<uint64_t>(vocabulary.id_at(keys_[node.first].index) + 1);
      ++node.first;
    }
    if (node.first == node.last) return;

    labels_.clear();
    const size_t children = open.size();
    for (uint32_t i = node.first; i < node.last; ++i) {
      const unsigned char label = byte_at(keys_[i], node.depth);
      if (labels_.empty() || labels_.back() != label) {
        labels_.push_back(label);
        open.push_back({i, i, node.depth + 1, 0});
      }
      open.back().last = i + 1;
    }
    const uint32_t base = place();
    if (node.depth == 0) {
      array_.root_ = base;
    } else {
      array_.units_[node.unit] |= static_cast<uint64_t>(base) << DoubleArray::kBaseShift;
    }
    for (size_t i = 0; i < labels_.size(); ++i) {
      open[children + i].unit = base ^ labels_[i];
      array_.units_[base ^ labels_[i]] = static_cast<uint64_t>(labels_[i] + 1) << DoubleArray::kLabelShift;
    }
  }

  // A base of its own for a node with the children labels_, their units taken.
  uint32_t place() {
    for (size_t i = 0; i < open_blocks_.size();) {
      const uint32_t number = open_blocks_[i];
      Block& block = blocks_[number];
      const int base = find_base(block);
      if (base >= 0) {
        take(block, static_cast<uint32_t>(base));
        return number * 256 + static_cast<uint32_t>(base);
      }
      // Full for single children, or refused often: never looked at again.
      if (labels_.size() == 1 || ++block.failures >= kMaxFailures) {
        open_blocks_.erase(open_blocks_.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        ++i;
      }
    }
    add_block();
    const auto number = static_cast<uint32_t>(blocks_.size() - 1);
    if (open_blocks_.size() == kOpenBlocks) open_blocks_.erase(open_blocks_.begin());
    open_blocks_.push_back(number);
    take(blocks_.back(), 0);
    return number * 256;
  }

  int find_base(const Block& block) const {
    for (uint32_t word = 0; word < 4; ++word) {
      for (uint64_t bits = block.free[word]; bits != 0; bits &= bits - 1) {
        const uint32_t base = (word * 64 + static_cast<uint32_t>(std::countr_zero(bits))) ^ labels_[0];
        if (!has_bit(block.free_base, base)) continue;
        const bool fits = std::all_of(labels_.begin() + 1, labels_.end(),
                                      [&](unsigned char label) { return has_bit(block.free, base ^ label); });
        if (fits) return static_cast<int>(base);
      }
    }
    return -1;
  }

  void take(Block& block, uint32_t base) {
    flip_bit(block.free_base, base);
    for (const unsigned char label : labels_) flip_bit(block.free, base ^ label);
  }

  void add_block() {
    if (blocks_.size() == kMaxBlocks) fail(ErrorCode::limit_exceeded, "a vocabulary too large for a trie");
    Block block;
    block.free.fill(~uint64_t{0});
    block.free_base.fill(~uint64_t{0});
    blocks_.push_back(block);
    array_.units_.resize(blocks_.size() * 256);
  }

  const StringPool& pieces_;
  DoubleArray& array_;
  std::vector<Key> keys_;
  std::vector<Block> blocks_;
  std::vector<uint32_t> open_blocks_;
  std::vector<unsigned char> labels_;
};

DoubleArray::DoubleArray(const Vocabulary& vocabulary) { DoubleArrayBuilder(vocabulary, *this); }

uint32_t DoubleArray::descend(std::string_view prefix) const {
  uint32_t base = root_;
  for (const char c : prefix) {
    const Step next = step(base, static_cast<unsigned char>(c));
    if (!next.found) return 0;
    base = next.base;
  }
  return base;
}

}  // namespace bertie::text
