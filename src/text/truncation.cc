#include <algorithm>

#include "base/error.h"
#include "text/post_processor.h"

namespace bertie::text {

namespace {

Windows cut(size_t length, size_t limit, size_t stride) {
  if (limit >= length) return {{0, length}};
  if (limit == 0) return {{0, 0}, {0, length}};
  if (stride >= limit) {
    fail(ErrorCode::invalid_argument, "a stride of {} tokens does not fit windows of {} tokens of the text", stride, limit);
  }
  Windows windows;
  for (size_t begin = 0;; begin += limit - stride) {
    const size_t end = std::min(begin + limit, length);
    windows.push_back({begin, end});
    if (end == length) return windows;
  }
}

// What longest_first leaves of both.
std::array<size_t, 2> share(std::array<size_t, 2> lengths, size_t limit) {
  const bool swapped = lengths[0] > lengths[1];
  size_t shorter = std::min(lengths[0], lengths[1]);
  size_t longer = shorter > limit ? shorter : std::max(shorter, limit - shorter);
  if (shorter + longer > limit) {
    shorter = limit / 2;
    longer = shorter + limit % 2;
  }
  if (swapped) return {longer, shorter};
  return {shorter, longer};
}

}  // namespace

std::array<Windows, 2> truncate(std::array<size_t, 2> lengths, bool pair, size_t limit, const Truncation& truncation) {
  const size_t total = lengths[0] + (pair ? lengths[1] : 0);
  std::array<size_t, 2> limits = lengths;
  if (total > limit) {
    if (truncation.strategy == TruncationStrategy::longest_first) {
      limits = pair ? share(lengths, limit) : std::array<size_t, 2>{limit, 0};
    } else {
      const size_t target = truncation.strategy == TruncationStrategy::only_first ? 0 : 1;
      if (target == 1 && !pair) fail(ErrorCode::invalid_argument, "only_second truncation needs a second text");
      const size_t excess = total - limit;
      if (lengths[target] <= excess) {
        fail(ErrorCode::invalid_text, "the {} text has {} tokens of the {} there may be, which leaves no room for the {}",
             target == 0 ? "second" : "first", lengths[1 - target], limit, target == 0 ? "first" : "second");
      }
      limits[target] = lengths[target] - excess;
    }
  }
  return {cut(lengths[0], limits[0], truncation.stride), pair ? cut(lengths[1], limits[1], truncation.stride) : Windows{{0, 0}}};
}

}  // namespace bertie::text
