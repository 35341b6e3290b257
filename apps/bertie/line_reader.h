// Lines of a file or of standard input, without reading further ahead than one buffer.
#pragma once

#include <cstddef>
#include <string>

#include "bertie/tasks.h"

namespace bertie::cli {

class LineReader {
 public:
  static constexpr size_t kMaxLine = size_t{64} << 20;  // bytes

  // An empty path, or "-", reads standard input. Throws Error(not_found, io).
  explicit LineReader(const std::string& path);
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;
  ~LineReader();

  // Lines end at \n only, which is taken off; an unfinished last line counts where it is not empty. `later` where nothing can be
  // read without waiting and `may_wait` is false. After an interrupt: end. Throws Error(io); Error(invalid_text) for a line
  // longer than kMaxLine, which is skipped.
  Pull next(std::string& line, bool may_wait);

  size_t bytes_read() const { return bytes_read_; }
  size_t file_size() const { return file_size_; }  // 0: not a regular file

 private:
  bool read_more();  // false at the end

  std::string name_;
  int descriptor_ = 0;
  bool owned_ = false;
  bool ended_ = false;
  std::string buffer_;
  size_t at_ = 0;        // first byte of the buffer not yet handed out
  std::string partial_;  // of a line that spans buffers
  bool too_long_ = false;
  size_t bytes_read_ = 0;
  size_t file_size_ = 0;
};

}  // namespace bertie::cli
