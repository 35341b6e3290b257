#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

#include "base/error.h"

namespace bertie {
namespace {

std::mutex mappings_mutex;
std::map<uintptr_t, size_t> mappings;  // start -> size of every live mapping

struct FileDescriptor {
  int fd;
  ~FileDescriptor() {
    if (fd >= 0) ::close(fd);
  }
};

FileDescriptor open_for_reading(const std::string& path, struct stat& status) {
  FileDescriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) {
    const int error = errno;
    fail(error == ENOENT || error == ENOTDIR ? ErrorCode::not_found : ErrorCode::io, "{}: {}", path, std::strerror(error));
  }
  if (::fstat(file.fd, &status) != 0) fail(ErrorCode::io, "{}: {}", path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail(ErrorCode::io, "{}: is a directory", path);
  const int fd = file.fd;
  file.fd = -1;
  return {fd};
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  struct stat status {};
  const FileDescriptor file = open_for_reading(path, status);
  if (!S_ISREG(status.st_mode)) fail(ErrorCode::io, "{}: not a regular file", path);
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  mapped->size_ = static_cast<size_t>(status.st_size);
  if (mapped->size_ == 0) return mapped;
  void* data = ::mmap(nullptr, mapped->size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    mapped->size_ = 0;
    fail(ErrorCode::io, "{}: cannot map: {}", path, std::strerror(error));
  }
  mapped->data_ = static_cast<const std::byte*>(data);
  std::lock_guard lock(mappings_mutex);
  mappings[reinterpret_cast<uintptr_t>(data)] = mapped->size_;
  return mapped;
}

MappedFile::~MappedFile() {
  if (!data_) return;
  {
    std::lock_guard lock(mappings_mutex);
    mappings.erase(reinterpret_cast<uintptr_t>(data_));
  }
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void release_resident(const void* data, size_t size) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data);
  std::lock_guard lock(mappings_mutex);
  auto next = mappings.upper_bound(begin);
  if (next == mappings.begin()) return;
  const auto& [start, length] = *std::prev(next);
  if (begin + size > start + length) return;
  const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last = (begin + size) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

std::string read_text_file(const std::string& path) {
  struct stat status {};
  const FileDescriptor file = open_for_reading(path, status);
  std::string text;
  if (S_ISREG(status.st_mode)) text.reserve(static_cast<size_t>(status.st_size));
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = ::read(file.fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ErrorCode::io, "{}: {}", path, std::strerror(errno));
    if (count == 0) return text;
    text.append(buffer, static_cast<size_t>(count));
  }
}

}  // namespace bertie
