// Slices of a UTF-8 text by Unicode character offsets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bertie::tasks {

class Characters {
 public:
  // Indexes the first `count` characters of valid UTF-8; the text must outlive this.
  Characters(std::string_view text, uint32_t count);

  // Characters [start, end), cut to what was indexed.
  std::string_view slice(uint32_t start, uint32_t end) const;
  // How many were indexed: `count`, or fewer where the text is shorter.
  uint32_t size() const { return static_cast<uint32_t>(starts_.size() - 1); }

 private:
  std::string_view text_;
  std::vector<size_t> starts_;  // byte offset of each character, and of the end
};

// Number of Unicode characters.
size_t count_characters(std::string_view text);

// Every character in lower case, one to one.
std::string lower_case(std::string_view text);

}  // namespace bertie::tasks
