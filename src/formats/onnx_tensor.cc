#include "formats/onnx_tensor.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "formats/onnx_file.h"

namespace bertie::onnx {
namespace {

using onnx_proto::TensorProto;

// TensorProto.DataType, by number.
constexpr std::string_view kTypeNames[] = {
    "UNDEFINED",  "FLOAT",        "UINT8",          "INT8",       "UINT16",         "INT16",  "INT32",     "INT64",
    "STRING",     "BOOL",         "FLOAT16",        "DOUBLE",     "UINT32",         "UINT64", "COMPLEX64", "COMPLEX128",
    "BFLOAT16",   "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4",  "INT4",      "FLOAT4E2M1",
    "FLOAT8E8M0", "UINT2",        "INT2",           "FLOAT6E2M3", "FLOAT6E3M2"};
constexpr std::pair<int64_t, DType> kDTypes[] = {{1, DType::f32},  {2, DType::u8},   {3, DType::i8},
                                                 {6, DType::i32},  {7, DType::i64},  {9, DType::boolean},
                                                 {10, DType::f16}, {11, DType::f64}, {16, DType::bf16}};

std::shared_ptr<std::byte[]> allocate(size_t bytes) { return std::shared_ptr<std::byte[]>(new std::byte[bytes]); }

// The bytes at `data`, kept by `owner`, as the tensor's own where they are aligned for its elements; a copy otherwise.
void refer(Tensor& tensor, const void* data, const std::shared_ptr<const void>& owner) {
  if (reinterpret_cast<uintptr_t>(data) % dtype_size(tensor.dtype) == 0) {
    tensor.data = std::shared_ptr<const void>(owner, data);
    return;
  }
  const auto copy = allocate(tensor.bytes());
  std::memcpy(copy.get(), data, tensor.bytes());
  tensor.data = std::shared_ptr<const void>(copy, copy.get());
}

template <typename To, typename Field>
void convert(Tensor& tensor, const Field& field) {
  const auto storage = allocate(tensor.bytes());
  auto* to = reinterpret_cast<To*>(storage.get());
  for (int i = 0; i < field.size(); ++i) to[i] = static_cast<To>(field.Get(i));
  tensor.data = std::shared_ptr<const void>(storage, storage.get());
}

// Whether each of the field's numbers is in [low, high].
bool all_within(const google::protobuf::RepeatedField<int32_t>& field, int32_t low, int32_t high) {
  return std::all_of(field.begin(), field.end(), [&](int32_t value) { return value >= low && value <= high; });
}

// How many numbers the typed field for this dtype holds.
int typed_count(const TensorProto& proto, DType dtype) {
  switch (dtype) {
    case DType::f32: return proto.float_data_size();
    case DType::f64: return proto.double_data_size();
    case DType::i64: return proto.int64_data_size();
    case DType::i8:
    case DType::u8:
    case DType::i32:
    case DType::f16:
    case DType::bf16:
    case DType::boolean: return proto.int32_data_size();
  }
  return 0;
}

// False where a number is outside the element type.
bool read_typed(Tensor& tensor, const TensorProto& proto) {
  const auto& small = proto.int32_data();
  switch (tensor.dtype) {
    case DType::f32: convert<float>(tensor, proto.float_data()); return true;
    case DType::f64: convert<double>(tensor, proto.double_data()); return true;
    case DType::i64: convert<int64_t>(tensor, proto.int64_data()); return true;
    case DType::i32: convert<int32_t>(tensor, small); return true;
    case DType::i8: convert<int8_t>(tensor, small); return all_within(small, INT8_MIN, INT8_MAX);
    case DType::u8: convert<uint8_t>(tensor, small); return all_within(small, 0, UINT8_MAX);
    case DType::boolean: convert<uint8_t>(tensor, small); return all_within(small, 0, 1);
    case DType::f16:
    case DType::bf16: convert<uint16_t>(tensor, small); return all_within(small, 0, UINT16_MAX);
  }
  return false;
}

bool is_whole_number(std::string_view text, uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

bool is_inside(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const auto [rest, unused] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return rest == folder.end();
}

}  // namespace

std::optional<DType> dtype_of_number(int64_t number) {
  for (const auto& [known, dtype] : kDTypes) {
    if (known == number) return dtype;
  }
  return std::nullopt;
}

int64_t number_of_dtype(DType dtype) {
  return std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const auto& row) { return row.second == dtype; })->first;
}

std::string type_name(int64_t number) {
  if (number < 0 || number >= static_cast<int64_t>(std::size(kTypeNames))) return fmt::format("type {}", number);
  return std::string(kTypeNames[number]);
}

Tensor TensorReader::read(TensorProto& proto, const std::string& what) {
  const auto dtype = dtype_of_number(proto.data_type());
  if (!dtype) fail(ErrorCode::unsupported, "{}: {}: element type {} is not supported", file_, what, type_name(proto.data_type()));
  if (proto.has_segment()) fail(ErrorCode::unsupported, "{}: {}: a tensor in segments is not supported", file_, what);
  if (proto.dims_size() > Shape::kMaxRank) {
    fail(ErrorCode::unsupported, "{}: {}: rank {}, at most {} is supported", file_, what, proto.dims_size(), Shape::kMaxRank);
  }
  int64_t bytes = static_cast<int64_t>(dtype_size(*dtype));
  for (int64_t extent : proto.dims()) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) {
      fail(ErrorCode::invalid_file, "{}: {}: shape [{}] is not one", file_, what, fmt::join(proto.dims(), ", "));
    }
  }
  Tensor tensor{*dtype, Shape(std::span<const int64_t>(proto.dims().data(), static_cast<size_t>(proto.dims_size()))), nullptr};
  const auto wrong_size = [&](uint64_t held, std::string_view unit) {
    fail(ErrorCode::invalid_file, "{}: {}: shape {} of {} does not fit its {} {}", file_, what, tensor.shape.to_string(),
         type_name(proto.data_type()), held, unit);
  };
  if (proto.data_location() == TensorProto::EXTERNAL) return read_external(proto, std::move(tensor), what);
  const int typed = typed_count(proto, *dtype);
  if (!proto.has_raw_data()) {
    if (typed != tensor.shape.elements()) wrong_size(static_cast<uint64_t>(typed), "elements");
    if (!read_typed(tensor, proto)) fail(ErrorCode::invalid_file, "{}: {}: a number outside its element type", file_, what);
    return tensor;
  }
  if (typed > 0) fail(ErrorCode::invalid_file, "{}: {}: elements are given twice", file_, what);
  if (proto.raw_data().size() != static_cast<size_t>(bytes)) wrong_size(proto.raw_data().size(), "bytes");
  const std::shared_ptr<const std::string> raw(proto.release_raw_data());
  if (tensor.dtype == DType::boolean && std::any_of(raw->begin(), raw->end(), [](char c) { return c != 0 && c != 1; })) {
    fail(ErrorCode::invalid_file, "{}: {}: a BOOL other than 0 and 1", file_, what);
  }
  refer(tensor, raw->data(), raw);
  return tensor;
}

Tensor TensorReader::read_external(const TensorProto& proto, Tensor tensor, const std::string& what) {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
  for (const auto& entry : proto.external_data()) {
    uint64_t number = 0;
    const bool numeric = entry.key() == "offset" || entry.key() == "length";
    if (numeric && !is_whole_number(entry.value(), number)) {
      fail(ErrorCode::invalid_file, "{}: {}: external data's {} '{}' is not a number", file_, what, entry.key(), entry.value());
    }
    const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
    if (entry.key() == "location" && std::none_of(entry.value().begin(), entry.value().end(), control)) location = entry.value();
    if (entry.key() == "offset") offset = number;
    if (entry.key() == "length") length = number;
  }
  if (proto.has_raw_data() || typed_count(proto, tensor.dtype) > 0) {
    fail(ErrorCode::invalid_file, "{}: {}: has both external data and its own", file_, what);
  }
  const auto mapped = open_external(location, what);
  const uint64_t size = mapped->bytes().size();
  if (length && *length != tensor.bytes()) {
    fail(ErrorCode::invalid_file, "{}: {}: shape {} of {} does not fit the {} bytes of external data", file_, what,
         tensor.shape.to_string(), type_name(proto.data_type()), *length);
  }
  if (offset > size || tensor.bytes() > size - offset) {
    fail(ErrorCode::invalid_file, "{}: {}: {} bytes at {} of '{}', which has {}", file_, what, tensor.bytes(), offset, location,
         size);
  }
  refer(tensor, mapped->bytes().data() + offset, mapped);
  return tensor;
}

// Neither the path itself nor a link on the way may lead out of the model's folder. Where the model file is itself a link (as in
// Hugging Face's cache), the folder it leads to is as good.
std::vector<std::string> TensorReader::external_files() const {
  std::vector<std::string> files;
  for (const auto& [location, mapped] : mapped_) files.push_back(location);
  return files;
}

std::shared_ptr<const MappedFile> TensorReader::open_external(const std::string& location, const std::string& what) {
  namespace fs = std::filesystem;
  if (const auto known = mapped_.find(location); known != mapped_.end()) return known->second;
  if (!folder_) fail(ErrorCode::unsupported, "{}: {}: external data of a model that is no file", file_, what);
  const fs::path relative(location);
  const bool leaves =
      location.empty() || relative.is_absolute() || std::find(relative.begin(), relative.end(), "..") != relative.end();
  const auto refuse = [&] {
    fail(ErrorCode::invalid_file, "{}: {}: external data '{}' is not inside the model's folder", file_, what, location);
  };
  if (leaves) refuse();
  const fs::path path = fs::path(*folder_) / relative;
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) fail(ErrorCode::not_found, "{}: {}: external data '{}': {}", file_, what, location, error.message());
  const fs::path home = fs::canonical(*folder_, error);
  const fs::path model = fs::canonical(file_, error);
  if (!is_inside(real, home) && (error || !is_inside(real, model.parent_path()))) refuse();
  if (!fs::is_regular_file(real, error)) {
    fail(ErrorCode::invalid_file, "{}: {}: external data '{}' is not a file", file_, what, location);
  }
  return mapped_[location] = MappedFile::open(real.string());
}

}  // namespace bertie::onnx
