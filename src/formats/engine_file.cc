#include "formats/engine_file.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>

#include "base/atomic_file.h"
#include "base/error.h"

namespace bertie {
namespace {

constexpr std::array<char, 8> kMagic = {'\x89', 'B', 'E', 'R', 'T', 'I', 'E', '\n'};
constexpr uint32_t kByteOrder = 0x01020304;
constexpr size_t kEntry = 64;
constexpr size_t kNameBytes = 24;
constexpr size_t kChecksumAt = 40;
constexpr uint32_t kMaxSections = 256;

template <typename T>
T load(std::span<const std::byte> bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  return value;
}

template <typename T>
void store(std::span<std::byte> bytes, size_t at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

uint64_t padded(uint64_t size) { return (size + kEngineFilePage - 1) / kEngineFilePage * kEngineFilePage; }
size_t chunk_count(uint64_t size) { return static_cast<size_t>((size + kEngineFileChunk - 1) / kEngineFileChunk); }
uint64_t header_bytes(size_t sections) { return padded(kEngineFileHeader + kEntry * sections); }

uint64_t hash(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t hash_of_hashes(std::span<const uint64_t> hashes) {
  std::vector<std::byte> bytes(hashes.size() * sizeof(uint64_t));
  for (size_t i = 0; i < hashes.size(); ++i) store(bytes, i * sizeof(uint64_t), hashes[i]);
  return hash(bytes);
}

// Checks all that the header says about itself; returns it without what follows.
std::span<const std::byte> checked_header(std::span<const std::byte> bytes, const std::string& file) {
  if (!is_engine_file(bytes)) fail(ErrorCode::invalid_file, "{}: is no engine file", file);
  if (bytes.size() < kEngineFileHeader) fail(ErrorCode::invalid_file, "{}: section header: the file ends within it", file);
  if (load<uint32_t>(bytes, 8) != kByteOrder) {
    const bool other = load<uint32_t>(bytes, 8) == 0x04030201;
    fail(other ? ErrorCode::unsupported : ErrorCode::invalid_file, "{}: section header: {}", file,
         other ? "the file is of the other byte order" : "the byte order mark is broken");
  }
  if (const uint32_t version = load<uint32_t>(bytes, 12); version != kEngineFileVersion) {
    fail(ErrorCode::unsupported, "{}: an engine file of format version {}; this bertie reads version {} (build it again)", file,
         version, kEngineFileVersion);
  }
  const uint32_t count = load<uint32_t>(bytes, 24);
  const uint64_t header_size = load<uint64_t>(bytes, 32);
  if (count > kMaxSections || header_size != header_bytes(count)) {
    fail(ErrorCode::invalid_file, "{}: section header: {} sections in a header of {} bytes", file, count, header_size);
  }
  if (bytes.size() < header_size) fail(ErrorCode::invalid_file, "{}: section header: the file ends within it", file);
  const auto header = bytes.first(static_cast<size_t>(header_size));
  if (load<uint64_t>(header, kChecksumAt) != engine_file_header_checksum(header)) {
    fail(ErrorCode::invalid_file, "{}: section header: its checksum differs: the file was altered or damaged", file);
  }
  return header;
}

EngineSection read_entry(std::span<const std::byte> entry, const std::string& file) {
  const char* name = reinterpret_cast<const char*>(entry.data());
  EngineSection section;
  section.name.assign(name, strnlen(name, kNameBytes));
  const bool plain =
      std::all_of(section.name.begin(), section.name.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
  if (section.name.empty() || !plain) fail(ErrorCode::invalid_file, "{}: section header: a section has no proper name", file);
  section.offset = load<uint64_t>(entry, 24);
  section.checksum = load<uint64_t>(entry, 40);
  return section;
}

// Writes sections chunk by chunk, in parallel, and keeps the first Error.
class SectionWriter {
 public:
  SectionWriter(AtomicFile& file, uint64_t total, ThreadPool& pool, const WriteProgress& progress)
      : file_(file), total_(total), pool_(pool), progress_(progress) {}

  // Returns the section's checksum.
  uint64_t write(std::span<const std::byte> bytes, uint64_t offset) {
    std::vector<uint64_t> hashes(chunk_count(padded(bytes.size())));
    pool_.parallel_for(static_cast<int64_t>(hashes.size()), [&](int64_t chunk, int) {
      try {
        if (failed_) return;
        const size_t begin = static_cast<size_t>(chunk) * kEngineFileChunk;
        const auto part = bytes.subspan(begin, std::min(kEngineFileChunk, bytes.size() - begin));
        hashes[static_cast<size_t>(chunk)] = write_chunk(part, offset + begin);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!failed_.exchange(true)) failure_ = std::current_exception();
      }
    });
    if (failure_) std::rethrow_exception(failure_);
    return hash_of_hashes(hashes);
  }

 private:
  // The last chunk of a section is filled up to a page.
  uint64_t write_chunk(std::span<const std::byte> part, uint64_t offset) {
    std::vector<std::byte> filled;
    if (part.size() % kEngineFilePage != 0) {
      filled.assign(part.begin(), part.end());
      filled.resize(static_cast<size_t>(padded(part.size())));
      part = filled;
    }
    file_.write_at(offset, part);
    done_ += part.size();
    if (progress_) {
      const std::lock_guard lock(mutex_);
      progress_(done_, total_);
    }
    return hash(part);
  }

  AtomicFile& file_;
  uint64_t total_;
  ThreadPool& pool_;
  const WriteProgress& progress_;
  std::atomic<uint64_t> done_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;  // of failure_ and the calls of progress_
  std::exception_ptr failure_;
};

}  // namespace

bool is_engine_file(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() && std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

uint64_t engine_file_header_checksum(std::span<const std::byte> header) {
  std::vector<std::byte> copy(header.begin(), header.end());
  if (copy.size() >= kEngineFileHeader) store<uint64_t>(copy, kChecksumAt, 0);
  return hash(copy);
}

uint64_t engine_file_checksum(std::span<const std::byte> bytes, ThreadPool& pool) {
  std::vector<uint64_t> hashes(chunk_count(bytes.size()));
  pool.parallel_for(static_cast<int64_t>(hashes.size()), [&](int64_t chunk, int) {
    const size_t begin = static_cast<size_t>(chunk) * kEngineFileChunk;
    hashes[static_cast<size_t>(chunk)] = hash(bytes.subspan(begin, std::min(kEngineFileChunk, bytes.size() - begin)));
  });
  return hash_of_hashes(hashes);
}

std::vector<EngineSection> parse_engine_file(std::span<const std::byte> bytes, const std::string& file, ThreadPool& pool) {
  const auto header = checked_header(bytes, file);
  std::vector<EngineSection> sections;
  uint64_t next = header.size();
  for (uint32_t i = 0; i < load<uint32_t>(header, 24); ++i) {
    const auto entry = header.subspan(kEngineFileHeader + kEntry * i, kEntry);
    EngineSection section = read_entry(entry, file);
    const uint64_t size = load<uint64_t>(entry, 32);
    if (section.offset != next || size > bytes.size() || padded(size) > bytes.size() - section.offset) {
      fail(ErrorCode::invalid_file, "{}: section {}: {} bytes at {}: the file, of {} bytes, is truncated", file, section.name,
           size, section.offset, bytes.size());
    }
    for (const EngineSection& other : sections) {
      if (other.name == section.name) fail(ErrorCode::invalid_file, "{}: section {} is there twice", file, section.name);
    }
    section.bytes = bytes.subspan(static_cast<size_t>(section.offset), static_cast<size_t>(size));
    next += padded(size);
    sections.push_back(std::move(section));
  }
  if (next != bytes.size() || load<uint64_t>(header, 16) != bytes.size()) {
    fail(ErrorCode::invalid_file, "{}: section header: the file should have {} bytes and has {}", file,
         load<uint64_t>(header, 16), bytes.size());
  }
  for (const EngineSection& section : sections) {
    const auto covered = bytes.subspan(static_cast<size_t>(section.offset), static_cast<size_t>(padded(section.bytes.size())));
    if (engine_file_checksum(covered, pool) != section.checksum) {
      fail(ErrorCode::invalid_file, "{}: section {}: its checksum differs: the file was altered or damaged", file, section.name);
    }
  }
  return sections;
}

void write_engine_file(const std::string& path, std::span<const EngineSection> sections, ThreadPool& pool,
                       const WriteProgress& progress) {
  const uint64_t header_size = header_bytes(sections.size());
  uint64_t total = header_size;
  for (const EngineSection& section : sections) total += padded(section.bytes.size());
  std::vector<std::byte> header(static_cast<size_t>(header_size));
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  store<uint32_t>(header, 8, kByteOrder);
  store<uint32_t>(header, 12, kEngineFileVersion);
  store<uint64_t>(header, 16, total);
  store<uint32_t>(header, 24, static_cast<uint32_t>(sections.size()));
  store<uint64_t>(header, 32, header_size);

  AtomicFile file(path);
  SectionWriter writer(file, total, pool, progress);
  uint64_t offset = header_size;
  size_t entry = kEngineFileHeader;
  for (const EngineSection& section : sections) {
    std::memcpy(header.data() + entry, section.name.data(), std::min(section.name.size(), kNameBytes));
    store<uint64_t>(header, entry + 24, offset);
    store<uint64_t>(header, entry + 32, section.bytes.size());
    store<uint64_t>(header, entry + 40, writer.write(section.bytes, offset));
    offset += padded(section.bytes.size());
    entry += kEntry;
  }
  store<uint64_t>(header, kChecksumAt, engine_file_header_checksum(header));
  file.write_at(0, header);
  file.commit();
}

}  // namespace bertie
