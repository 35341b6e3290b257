// A line on the terminal that says how far a file has been read or written.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bertie::cli {

class Progress {
 public:
  // Shown only where standard error is a terminal and, as a rule, standard output is not: lines would mix. file_size 0: unknown.
  explicit Progress(size_t file_size, bool beside_output = true);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(size_t texts, size_t bytes);
  void update_share(std::string_view what, uint64_t done, uint64_t total);

 private:
  using Clock = std::chrono::steady_clock;
  bool is_due();

  bool enabled_;
  bool drawn_ = false;
  size_t file_size_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point next_;
};

}  // namespace bertie::cli
