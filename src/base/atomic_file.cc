#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace bertie {
namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Calls attempt(name) with new names beside `path` until it returns anything but -1 with EEXIST.
template <typename Attempt>
int with_new_name(const std::string& path, std::string& name, Attempt attempt) {
  for (int number = 0;; ++number) {
    name = fmt::format("{}.{}.{}.tmp", path, ::getpid(), number);
    const int result = attempt(name.c_str());
    if (result >= 0 || errno != EEXIST) return result;
  }
}

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), folder_(folder_of(path_)) {
  struct stat status {};
  if (::stat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) fail(ErrorCode::io, "{}: is no regular file", path_);
#ifdef O_TMPFILE
  fd_ = ::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (fd_ >= 0) return;
#endif
  fd_ = with_new_name(path_, temporary_,
                      [](const char* name) { return ::open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666); });
  if (fd_ >= 0) return;
  const int error = errno;
  temporary_.clear();
  refuse(error);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::refuse(int error) const {
  fail(error == ENOENT || error == ENOTDIR ? ErrorCode::not_found : ErrorCode::io, "{}: {}", path_, std::strerror(error));
}

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) refuse(errno);
    if (written == 0) refuse(ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) refuse(errno);
  if (temporary_.empty()) {
    // A file without a name cannot take the place of one that has it: it gets a name of its own first.
    const std::string self = fmt::format("/proc/self/fd/{}", fd_);
    std::string name;
    const int linked = with_new_name(path_, name, [&](const char* candidate) {
      return ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, candidate, AT_SYMLINK_FOLLOW);
    });
    if (linked != 0) refuse(errno);
    temporary_ = name;
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) refuse(errno);
  temporary_.clear();
  // The new name too must outlive a power cut; a file system that cannot flush a folder keeps its own promises.
  const int folder = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

void write_file_atomically(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write_at(0, std::as_bytes(std::span(text)));
  file.commit();
}

}  // namespace bertie
