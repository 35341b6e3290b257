// Many short strings in one block of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace bertie::text {

class StringPool {
 public:
  // Throws Error(limit_exceeded) beyond 4 GiB.
  void add(std::string_view text) {
    if (text.size() > std::numeric_limits<uint32_t>::max() - bytes_.size()) {
      fail(ErrorCode::limit_exceeded, "a vocabulary of more than 4 GiB");
    }
    bytes_.append(text);
    ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  // Valid until the next `add`.
  std::string_view operator[](size_t index) const {
    const uint32_t begin = index == 0 ? 0 : ends_[index - 1];
    return {bytes_.data() + begin, ends_[index] - begin};
  }
  size_t size() const { return ends_.size(); }
  void clear() {
    bytes_.clear();
    ends_.clear();
  }

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_;
};

}  // namespace bertie::text
