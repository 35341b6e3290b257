#include "line_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "interrupt.h"

namespace bertie::cli {
namespace {
constexpr size_t kBufferBytes = size_t{1} << 16;
}

LineReader::LineReader(const std::string& path) : name_(path) {
  if (path.empty() || path == "-") {
    name_ = "standard input";
  } else {
    descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) {
      const ErrorCode code = errno == ENOENT ? ErrorCode::not_found : ErrorCode::io;
      fail(code, "cannot open {}: {}", path, std::strerror(errno));
    }
    owned_ = true;
  }
  struct stat info {};
  if (fstat(descriptor_, &info) == 0 && S_ISREG(info.st_mode)) file_size_ = static_cast<size_t>(info.st_size);
}

LineReader::~LineReader() {
  if (owned_) close(descriptor_);
}

bool LineReader::read_more() {
  buffer_.resize(kBufferBytes);
  at_ = 0;
  ssize_t count = 0;
  do {
    count = interrupted() ? 0 : read(descriptor_, buffer_.data(), buffer_.size());
  } while (count < 0 && errno == EINTR);
  if (count < 0) fail(ErrorCode::io, "cannot read {}: {}", name_, std::strerror(errno));
  buffer_.resize(static_cast<size_t>(count));
  bytes_read_ += static_cast<size_t>(count);
  return count > 0;
}

Pull LineReader::next(std::string& line, bool may_wait) {
  while (!ended_) {
    if (interrupted()) return Pull::end;
    const size_t stop = buffer_.find('\n', at_);
    const bool complete = stop != std::string::npos;
    const size_t length = (complete ? stop : buffer_.size()) - at_;
    if (too_long_ || partial_.size() + length > kMaxLine) {
      too_long_ = true;
      partial_.clear();
    } else {
      partial_.append(buffer_, at_, length);
    }
    at_ += length + (complete ? 1 : 0);
    if (!complete) {
      if (!may_wait) {
        pollfd waiting{descriptor_, POLLIN, 0};
        if (poll(&waiting, 1, 0) == 0) return Pull::later;
      }
      if (read_more()) continue;
      ended_ = true;
      if (interrupted() || (partial_.empty() && !too_long_)) break;
    }
    line = std::exchange(partial_, {});
    if (std::exchange(too_long_, false)) {
      line.clear();
      fail(ErrorCode::invalid_text, "the line is longer than {} MiB", kMaxLine >> 20);
    }
    return Pull::item;
  }
  return Pull::end;
}

}  // namespace bertie::cli
