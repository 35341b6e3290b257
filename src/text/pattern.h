// What Replace and Split look for: a literal or a regular expression (Oniguruma, as in Hugging Face tokenizers).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "formats/json.h"

namespace bertie::text {

class Pattern {
 public:
  // From the field "pattern": {"String": s} or {"Regex": r}. Throws Error(invalid_file) naming the file and the field.
  static Pattern parse(const JsonFields& fields);

  // Calls visit(begin, end) for each match in `text` (valid UTF-8), in order; they do not overlap, some may be empty.
  // Throws Error(invalid_text) where the expression needs too many steps.
  using Visit = std::function<void(size_t begin, size_t end)>;
  void for_each_match(std::string_view text, const Visit& visit) const;

 private:
  struct Regex;
  std::string literal_;  // where there is no regex_
  std::shared_ptr<const Regex> regex_;
};

}  // namespace bertie::text
