// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace bertie {

class MappedFile {
 public:
  // Throws Error(not_found, io) naming the path. An empty file gives an empty span.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  MappedFile() = default;
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Lets go of the resident pages of [data, data + size) where they lie in a MappedFile; they are read again when touched.
// Memory that is not mapped from a file is left alone.
void release_resident(const void* data, size_t size);

// The whole file as text. Throws Error(not_found, io).
std::string read_text_file(const std::string& path);

}  // namespace bertie
