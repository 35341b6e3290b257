// A line on the terminal that says how far a file has been read.
#pragma once

#include <chrono>
#include <cstddef>

namespace bertie::cli {

class Progress {
 public:
  // Shown only where standard error is a terminal and standard output is not. file_size 0: unknown.
  explicit Progress(size_t file_size);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(size_t texts, size_t bytes);

 private:
  using Clock = std::chrono::steady_clock;
  bool enabled_;
  bool drawn_ = false;
  size_t file_size_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point next_;
};

}  // namespace bertie::cli
