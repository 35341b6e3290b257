// The container of an engine file (.bertie): named sections on page boundaries, every byte under a checksum. What the sections
// hold is said in docs/design/engine-file.md.
//
//   0    8  "\x89" "BERTIE\n"
//   8    4  0x01020304, in the byte order of the file: little-endian
//  12    4  version of the format
//  16    8  bytes of the file
//  24    4  sections
//  28    4  zero
//  32    8  bytes of the header, a multiple of a page
//  40    8  checksum of the header, these 8 bytes taken as zero
//  48   16  zero
//  64   64  of each section: name (24, zero-padded), offset (8), bytes (8), checksum with its padding (8), zero (16)
//
// Sections follow the header and one another without a gap, each filled up with zeros to a page. All numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"

namespace bertie {

inline constexpr uint32_t kEngineFileVersion = 1;
inline constexpr size_t kEngineFilePage = 4096;
inline constexpr size_t kEngineFileHeader = 64;  // and then 64 bytes a section
inline constexpr size_t kEngineFileChunk = 1 << 20;

// Whether these bytes begin as an engine file does.
bool is_engine_file(std::span<const std::byte> bytes);

// XXH3-64 of the XXH3-64 (little-endian) of each chunk of kEngineFileChunk bytes; the chunks are hashed in parallel.
uint64_t engine_file_checksum(std::span<const std::byte> bytes, ThreadPool& pool);

// XXH3-64 of the header with its own checksum taken as zero.
uint64_t engine_file_header_checksum(std::span<const std::byte> header);

struct EngineSection {
  std::string name;
  uint64_t offset = 0;
  uint64_t checksum = 0;
  std::span<const std::byte> bytes;  // without padding
};

// `bytes` is a whole file, `file` names it in errors. Checks every byte against its checksum. Throws Error(invalid_file) naming
// the section that is broken, Error(unsupported) for another version or byte order.
std::vector<EngineSection> parse_engine_file(std::span<const std::byte> bytes, const std::string& file, ThreadPool& pool);

// Called now and then with the bytes written, from any thread; an Error that it throws ends the writing.
using WriteProgress = std::function<void(uint64_t done, uint64_t total)>;

// Whole or not at all (AtomicFile), from each section's name (at most 24 bytes) and bytes. The same sections give the same file.
// Throws Error(io), and what `progress` throws.
void write_engine_file(const std::string& path, std::span<const EngineSection> sections, ThreadPool& pool,
                       const WriteProgress& progress);

}  // namespace bertie
