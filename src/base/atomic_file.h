// A file that appears whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bertie {

// Written under no name in the target's folder (or, where the file system cannot do that, under a temporary one), then moved
// over the target. Whatever happens before commit() returns, the target is what it was and nothing else is left behind.
class AtomicFile {
 public:
  // Throws Error(io, not_found) naming the path where its folder cannot be written or it is no regular file.
  explicit AtomicFile(std::string path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  // May be called from several threads. Throws Error(io): "PATH: No space left on device".
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  // Flushes to the disk and puts the file in its place. Throws Error(io).
  void commit();

 private:
  [[noreturn]] void refuse(int error) const;

  std::string path_;
  std::string folder_;
  std::string temporary_;  // a name that exists; empty: none
  int fd_ = -1;
};

// Throws as AtomicFile does.
void write_file_atomically(const std::string& path, std::string_view text);

}  // namespace bertie
