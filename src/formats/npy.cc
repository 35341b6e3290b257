#include "formats/npy.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"

namespace bertie {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeaderBytes = 1 << 16;

struct Descriptor {
  std::string_view text;
  DType dtype;
};
constexpr std::array kDescriptors = {
    Descriptor{"<f4", DType::f32}, Descriptor{"<f8", DType::f64},     Descriptor{"<f2", DType::f16},
    Descriptor{"|i1", DType::i8},  Descriptor{"|u1", DType::u8},      Descriptor{"<i4", DType::i32},
    Descriptor{"<i8", DType::i64}, Descriptor{"|b1", DType::boolean},
};

struct Header {
  std::optional<DType> dtype;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
};

// Reads the Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  Header read() {
    Header header;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !header.dtype) {
        header.dtype = dtype();
      } else if (key == "fortran_order" && !header.fortran_order) {
        header.fortran_order = boolean();
      } else if (key == "shape" && !header.shape) {
        header.shape = shape();
      } else {
        broken();
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!text_.empty() || !header.dtype || !header.fortran_order || !header.shape) broken();
    return header;
  }

 private:
  [[noreturn]] void broken() const { fail(ErrorCode::invalid_file, "{}: its .npy header is broken", file_); }

  void skip_space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n' || text_[0] == '\t')) text_.remove_prefix(1);
  }
  bool accept(char c) {
    skip_space();
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) broken();
  }
  std::string_view quoted() {
    skip_space();
    if (text_.empty() || (text_[0] != '\'' && text_[0] != '"')) broken();
    const size_t end = text_.find(text_[0], 1);
    if (end == std::string_view::npos) broken();
    const std::string_view inside = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return inside;
  }
  bool boolean() {
    skip_space();
    for (const auto& [word, value] : {std::pair<std::string_view, bool>{"True", true}, {"False", false}}) {
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return value;
    }
    broken();
  }
  DType dtype() {
    skip_space();
    if (text_.starts_with('[')) fail(ErrorCode::unsupported, "{}: a structured dtype is not supported", file_);
    const std::string_view wanted = quoted();
    const auto found =
        std::find_if(kDescriptors.begin(), kDescriptors.end(), [&](const Descriptor& known) { return known.text == wanted; });
    if (found == kDescriptors.end()) {
      fail(ErrorCode::unsupported, "{}: dtype '{}' is not supported (float16/32/64, int8/32/64, uint8 and bool, little-endian)",
           file_, wanted.substr(0, 32));
    }
    return found->dtype;
  }
  std::vector<int64_t> shape() {
    std::vector<int64_t> extents;
    expect('(');
    while (!accept(')')) {
      skip_space();
      int64_t extent = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), extent);
      if (error != std::errc() || extent < 0) broken();
      text_.remove_prefix(static_cast<size_t>(end - text_.data()));
      extents.push_back(extent);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return extents;
  }

  std::string_view text_;
  const std::string& file_;
};

// Column-major `source` into row-major order.
std::shared_ptr<const void> row_major(const std::byte* source, DType dtype, const Shape& shape) {
  const size_t size = dtype_size(dtype);
  const size_t count = static_cast<size_t>(shape.elements());
  std::shared_ptr<std::byte[]> target(new std::byte[count * size]);
  std::array<int64_t, Shape::kMaxRank> index{};
  for (size_t i = 0; i < count; ++i) {
    size_t from = 0;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      from = from * static_cast<size_t>(shape[axis]) + static_cast<size_t>(index[static_cast<size_t>(axis)]);
    }
    std::memcpy(target.get() + i * size, source + from * size, size);
    for (int axis = shape.rank() - 1; axis >= 0 && ++index[static_cast<size_t>(axis)] == shape[axis]; --axis) {
      index[static_cast<size_t>(axis)] = 0;
    }
  }
  return {target, target.get()};
}

}  // namespace

Tensor parse_npy(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, const std::string& file) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.size() < 10 || !text.starts_with(kMagic)) fail(ErrorCode::invalid_file, "{}: not a .npy file", file);
  const auto byte = [&](size_t i) { return static_cast<size_t>(bytes[i]); };
  const size_t major = byte(6);
  if (major < 1 || major > 3) fail(ErrorCode::unsupported, "{}: .npy version {} is not supported (1 to 3)", file, major);
  const size_t start = major == 1 ? 10 : 12;
  if (text.size() < start) fail(ErrorCode::invalid_file, "{}: its .npy header is cut short", file);
  const size_t length = major == 1 ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  if (length > kMaxHeaderBytes || length > text.size() - start) {
    fail(ErrorCode::invalid_file, "{}: a .npy header of {} bytes in a file of {}", file, length, text.size());
  }
  const Header header = HeaderReader(text.substr(start, length), file).read();
  if (header.shape->size() > Shape::kMaxRank) {
    fail(ErrorCode::unsupported, "{}: an array of {} axes is not supported (at most {})", file, header.shape->size(),
         Shape::kMaxRank);
  }
  const size_t available = text.size() - start - length;
  size_t needed = dtype_size(*header.dtype);
  for (int64_t extent : *header.shape) {
    if (__builtin_mul_overflow(needed, static_cast<size_t>(extent), &needed)) {
      fail(ErrorCode::invalid_file, "{}: its shape [{}] overflows", file, fmt::join(*header.shape, ", "));
    }
  }
  const Tensor tensor{*header.dtype, Shape(std::span<const int64_t>(*header.shape)), nullptr};
  if (needed != available) {
    fail(ErrorCode::invalid_file, "{}: {} bytes of data where shape {} of {} takes {}", file, available, tensor.shape.to_string(),
         dtype_name(tensor.dtype), needed);
  }
  const std::byte* data = bytes.data() + start + length;
  if (*header.fortran_order && tensor.shape.rank() > 1) {
    return {tensor.dtype, tensor.shape, row_major(data, tensor.dtype, tensor.shape)};
  }
  if (reinterpret_cast<uintptr_t>(data) % dtype_size(tensor.dtype) == 0) return {tensor.dtype, tensor.shape, {owner, data}};
  return {tensor.dtype, tensor.shape, row_major(data, tensor.dtype, Shape{tensor.shape.elements()})};
}

Tensor read_npy(const std::string& path) {
  const auto file = MappedFile::open(path);
  return parse_npy(file->bytes(), file, path);
}

std::string format_npy(const TensorView& tensor) {
  const auto descriptor = std::find_if(kDescriptors.begin(), kDescriptors.end(),
                                       [&](const Descriptor& known) { return known.dtype == tensor.dtype; });
  if (descriptor == kDescriptors.end()) {
    fail(ErrorCode::unsupported, "a .npy file cannot hold {}", dtype_name(tensor.dtype));
  }
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descriptor->text,
                  fmt::join(tensor.shape.begin(), tensor.shape.end(), ", "), tensor.shape.rank() == 1 ? "," : "");
  const size_t unpadded = 10 + header.size() + 1;
  header.append((64 - unpadded % 64) % 64, ' ').push_back('\n');  // so that the data is aligned to 64 bytes
  std::string file(kMagic);
  file += {'\x01', '\x00', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  file += header;
  if (tensor.bytes() > 0) file.append(static_cast<const char*>(tensor.data), tensor.bytes());
  return file;
}

void write_npy(const std::string& path, const TensorView& tensor) {
  const std::string bytes = format_npy(tensor);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) fail(ErrorCode::io, "{}: cannot write: {}", path, std::strerror(errno));
}

}  // namespace bertie
