// A bounded sample of a stream of texts, the same from the same texts and seed on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace bertie::calibration {

struct SampledText {
  size_t line = 0;  // in its file, from 1
  std::string text;
};

// Every text has the same chance to be kept (reservoir sampling).
class TextSample {
 public:
  // `capacity` texts are kept at most; it must not be 0.
  TextSample(size_t capacity, uint64_t seed) : capacity_(capacity), random_(seed) {}

  // Texts of white space alone are passed over.
  void offer(size_t line, const std::string& text);
  size_t offered() const { return offered_; }
  // What was kept, by line; the sample is empty afterwards.
  std::vector<SampledText> take();

 private:
  size_t capacity_;
  std::mt19937_64 random_;
  size_t offered_ = 0;
  std::vector<SampledText> kept_;
};

}  // namespace bertie::calibration
