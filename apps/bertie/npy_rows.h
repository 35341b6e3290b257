// An .npy file of float32 written row by row; the number of rows is filled in at the end.
#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

namespace bertie::cli {

class NpyRows {
 public:
  // Shape [rows, inner...]. Throws Error(io) naming the path.
  NpyRows(std::string path, std::vector<int64_t> inner);
  NpyRows(NpyRows&& other) noexcept;
  NpyRows& operator=(NpyRows&&) = delete;
  ~NpyRows();

  // A whole number of rows.
  void append(std::span<const float> values);
  void append_constant(float value, int64_t count);  // `count` values
  int64_t rows() const { return row_values_ > 0 ? values_ / row_values_ : 0; }
  // Writes the header and closes; `rows` is needed where a row may be empty. Without it the file is left unreadable.
  void finish(int64_t rows);
  void finish() { finish(rows()); }

 private:
  void write(const void* data, size_t bytes);
  [[noreturn]] void cannot_write() const;

  std::string path_;
  std::vector<int64_t> inner_;
  int64_t row_values_ = 1;
  int64_t values_ = 0;
  std::FILE* file_ = nullptr;
};

}  // namespace bertie::cli
