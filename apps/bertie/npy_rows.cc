#include "npy_rows.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace bertie::cli {
namespace {
constexpr size_t kHeaderBytes = 128;  // magic, version, length and the padded dictionary
}

NpyRows::NpyRows(std::string path, std::vector<int64_t> inner) : path_(std::move(path)), inner_(std::move(inner)) {
  for (int64_t extent : inner_) row_values_ *= extent;
  file_ = std::fopen(path_.c_str(), "wb");
  if (!file_) cannot_write();
  const std::array<char, kHeaderBytes> blank{};
  write(blank.data(), blank.size());
}

NpyRows::NpyRows(NpyRows&& other) noexcept
    : path_(std::move(other.path_)),
      inner_(std::move(other.inner_)),
      row_values_(other.row_values_),
      values_(other.values_),
      file_(std::exchange(other.file_, nullptr)) {}

NpyRows::~NpyRows() {
  if (file_) std::fclose(file_);
}

void NpyRows::cannot_write() const { fail(ErrorCode::io, "cannot write {}: {}", path_, std::strerror(errno)); }

void NpyRows::write(const void* data, size_t bytes) {
  if (std::fwrite(data, 1, bytes, file_) != bytes) cannot_write();
}

void NpyRows::append(std::span<const float> values) {
  write(values.data(), values.size_bytes());
  values_ += static_cast<int64_t>(values.size());
}

void NpyRows::append_constant(float value, int64_t count) {
  const std::vector<float> block(static_cast<size_t>(std::min<int64_t>(count, 1 << 14)), value);
  while (count > 0) {
    const int64_t part = std::min<int64_t>(count, static_cast<int64_t>(block.size()));
    append(std::span(block).first(static_cast<size_t>(part)));
    count -= part;
  }
}

void NpyRows::finish(int64_t rows) {
  std::string shape = fmt::format("({},", rows);
  for (int64_t extent : inner_) shape += fmt::format(" {},", extent);
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': {}), }}", shape);
  const size_t room = kHeaderBytes - 10;
  if (header.size() + 1 > room) fail(ErrorCode::unsupported, "{}: the shape is too long to write", path_);
  header.resize(room - 1, ' ');
  header += '\n';
  const std::string start{'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<char>(room), 0};
  if (std::fseek(file_, 0, SEEK_SET) != 0) cannot_write();
  write(start.data(), start.size());
  write(header.data(), header.size());
  if (std::fclose(std::exchange(file_, nullptr)) != 0) cannot_write();
}

}  // namespace bertie::cli
