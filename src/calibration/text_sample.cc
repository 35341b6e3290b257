#include "calibration/text_sample.h"

#include <algorithm>

namespace bertie::calibration {

void TextSample::offer(size_t line, const std::string& text) {
  if (text.find_first_not_of(" \t\r\n\v\f") == std::string::npos) return;
  ++offered_;
  if (kept_.size() < capacity_) {
    kept_.push_back({line, text});
    return;
  }
  // Not uniform_int_distribution, whose numbers differ between standard libraries; the remainder's bias is below 2^-24 for 2^40 texts.
  const uint64_t place = random_() % offered_;
  if (place < capacity_) kept_[place] = {line, text};
}

std::vector<SampledText> TextSample::take() {
  std::sort(kept_.begin(), kept_.end(), [](const SampledText& a, const SampledText& b) { return a.line < b.line; });
  offered_ = 0;
  return std::move(kept_);
}

}  // namespace bertie::calibration
