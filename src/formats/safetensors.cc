#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json.h"

namespace bertie {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit

struct StoredDType {
  std::string_view name;
  uint64_t bits;
  std::optional<DType> dtype;
};

constexpr std::array kStoredDTypes = {
    StoredDType{"F32", 32, DType::f32},      StoredDType{"F16", 16, DType::f16},      StoredDType{"BF16", 16, DType::bf16},
    StoredDType{"F64", 64, DType::f64},      StoredDType{"I64", 64, DType::i64},      StoredDType{"I32", 32, DType::i32},
    StoredDType{"I8", 8, DType::i8},         StoredDType{"U8", 8, DType::u8},         StoredDType{"BOOL", 8, DType::boolean},
    StoredDType{"I16", 16, std::nullopt},    StoredDType{"U16", 16, std::nullopt},    StoredDType{"U32", 32, std::nullopt},
    StoredDType{"U64", 64, std::nullopt},    StoredDType{"C64", 64, std::nullopt},    StoredDType{"F8_E4M3", 8, std::nullopt},
    StoredDType{"F4", 4, std::nullopt},      StoredDType{"F8_E5M2", 8, std::nullopt}, StoredDType{"F8_E8M0", 8, std::nullopt},
    StoredDType{"F6_E2M3", 6, std::nullopt}, StoredDType{"F6_E3M2", 6, std::nullopt},
};

struct Extent {
  uint64_t begin = 0;
  uint64_t end = 0;
  const std::string* name = nullptr;
};

// The bytes [begin, end) of the data section, checked against the header's shape and dtype.
Extent read_entry(const JsonFields& fields, std::string_view name, uint64_t data_size, StoredTensor& stored) {
  const std::string& file = fields.file();
  stored.stored_dtype = fields.text("dtype");
  const auto dtype = std::find_if(kStoredDTypes.begin(), kStoredDTypes.end(),
                                  [&](const StoredDType& known) { return known.name == stored.stored_dtype; });
  if (dtype == kStoredDTypes.end()) fields.refuse("dtype", "a dtype of the safetensors format");

  const auto integers = [&](std::string_view field) {
    const nlohmann::json* list = fields.find(field);
    const auto is_size = [](const nlohmann::json& item) {
      return item.is_number_unsigned() && item.get<uint64_t>() <= static_cast<uint64_t>(JsonFields::kMax);
    };
    if (!list || !list->is_array() || !std::all_of(list->begin(), list->end(), is_size)) {
      fields.refuse(field, "a list of integers that are not negative");
    }
    return list->get<std::vector<int64_t>>();
  };
  stored.shape = integers("shape");
  uint64_t bits = dtype->bits;
  for (int64_t extent : stored.shape) {
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(extent), &bits)) {
      fail(ErrorCode::invalid_file, "{}: tensor '{}': its shape [{}] overflows", file, name, fmt::join(stored.shape, ", "));
    }
  }

  const std::vector<int64_t> offsets = integers("data_offsets");
  if (offsets.size() != 2) fields.refuse("data_offsets", "two integers");
  const Extent extent{static_cast<uint64_t>(offsets[0]), static_cast<uint64_t>(offsets[1])};
  if (extent.begin > extent.end || extent.end > data_size) {
    fail(ErrorCode::invalid_file, "{}: tensor '{}': data_offsets [{}, {}] lie outside the file's {} bytes of data", file, name,
         extent.begin, extent.end, data_size);
  }
  if (bits % 8 != 0 || bits / 8 != extent.end - extent.begin) {
    fail(ErrorCode::invalid_file, "{}: tensor '{}': shape [{}] of {} does not fill its {} bytes", file, name,
         fmt::join(stored.shape, ", "), stored.stored_dtype, extent.end - extent.begin);
  }
  if (dtype->dtype && stored.shape.size() <= Shape::kMaxRank) {
    stored.tensor.emplace(Tensor{*dtype->dtype, Shape(std::span<const int64_t>(stored.shape)), nullptr});
  }
  return extent;
}

// The extents must tile the data section.
void check_tiling(std::vector<Extent>& extents, uint64_t data_size, const std::string& file) {
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  uint64_t end = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != end) {
      fail(ErrorCode::invalid_file, "{}: tensor '{}' begins at byte {} of the data, {} byte {}", file, *extent.name, extent.begin,
           extent.begin < end ? "inside another that ends at" : "after a hole that begins at", end);
    }
    end = extent.end;
  }
  if (end != data_size) {
    fail(ErrorCode::invalid_file, "{}: {} bytes of data, but the tensors take {}", file, data_size, end);
  }
}

std::shared_ptr<const void> aliased(const std::byte* data, const Tensor& tensor, const std::shared_ptr<const void>& owner) {
  if (reinterpret_cast<uintptr_t>(data) % dtype_size(tensor.dtype) == 0) return {owner, data};
  std::shared_ptr<std::byte[]> copy(new std::byte[tensor.bytes()]);
  std::memcpy(copy.get(), data, tensor.bytes());
  return {copy, copy.get()};
}

void check_metadata(const nlohmann::json& metadata, const std::string& file) {
  const bool all_text =
      metadata.is_object() && std::all_of(metadata.begin(), metadata.end(), [](const auto& value) { return value.is_string(); });
  if (!all_text) fail(ErrorCode::invalid_file, "{}: '__metadata__' must map names to strings", file);
}

bool stays_inside(const std::filesystem::path& path) {
  return !path.empty() && path.is_relative() && std::find(path.begin(), path.end(), "..") == path.end();
}

// The path of the shard that holds each tensor.
std::map<std::string, std::string, std::less<>> read_index(const std::string& folder, const std::string& index_path) {
  const nlohmann::json index = read_json_file(index_path);
  const nlohmann::json* weight_map = JsonFields(index, index_path).find("weight_map");
  if (!weight_map || !weight_map->is_object()) JsonFields(index, index_path).refuse("weight_map", "an object");
  std::map<std::string, std::string, std::less<>> shards;
  for (const auto& [name, shard_name] : weight_map->items()) {
    if (!shard_name.is_string() || !stays_inside(shard_name.get<std::string>())) {
      fail(ErrorCode::invalid_file, "{}: tensor '{}': its shard must be a path inside the folder", index_path, name);
    }
    shards.emplace(name, folder + "/" + shard_name.get<std::string>());
  }
  return shards;
}

TensorMap read_shards(const std::string& folder, const std::string& index_path) {
  std::map<std::string, TensorMap, std::less<>> shards;
  TensorMap tensors;
  for (const auto& [name, shard_path] : read_index(folder, index_path)) {
    if (!shards.contains(shard_path)) shards.emplace(shard_path, read_safetensors(shard_path));
    const TensorMap& shard = shards.find(shard_path)->second;
    const auto found = shard.find(name);
    if (found == shard.end()) {
      fail(ErrorCode::invalid_file, "{}: tensor '{}' is not in {} where the index places it", index_path, name, shard_path);
    }
    tensors.emplace(name, found->second);
  }
  return tensors;
}

}  // namespace

TensorMap parse_safetensors(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner, const std::string& file) {
  if (bytes.size() < 8) fail(ErrorCode::invalid_file, "{}: too short to be a safetensors file ({} bytes)", file, bytes.size());
  uint64_t header_size = 0;
  for (int i = 7; i >= 0; --i) header_size = header_size << 8 | static_cast<uint64_t>(bytes[static_cast<size_t>(i)]);
  if (header_size > kMaxHeaderBytes || header_size > bytes.size() - 8) {
    fail(ErrorCode::invalid_file, "{}: a header of {} bytes in a file of {}", file, header_size, bytes.size());
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header_size);
  if (!text.starts_with('{')) fail(ErrorCode::invalid_file, "{}: the header does not begin with '{{'", file);
  const nlohmann::json header = parse_json_unique(text, file, 8);
  const std::span<const std::byte> data = bytes.subspan(8 + header_size);

  TensorMap tensors;
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      check_metadata(entry, file);
      continue;
    }
    const auto placed = tensors.emplace(name, StoredTensor{}).first;
    StoredTensor& stored = placed->second;
    Extent extent = read_entry(JsonFields(entry, file, name + "."), name, data.size(), stored);
    extent.name = &placed->first;
    extents.push_back(extent);
    if (stored.tensor) stored.tensor->data = aliased(data.data() + extent.begin, *stored.tensor, owner);
  }
  check_tiling(extents, data.size(), file);
  return tensors;
}

TensorMap read_safetensors(const std::string& path) {
  const auto file = MappedFile::open(path);
  return parse_safetensors(file->bytes(), file, path);
}

namespace {
constexpr const char* kSingle = "/model.safetensors";
constexpr const char* kIndex = "/model.safetensors.index.json";
}  // namespace

std::vector<std::string> checkpoint_files(const std::string& folder) {
  const std::string single = folder + kSingle, index = folder + kIndex;
  std::error_code ignored;
  if (std::filesystem::exists(single, ignored)) return {single};
  if (!std::filesystem::exists(index, ignored)) return {};
  std::set<std::string> files = {index};
  for (const auto& [name, shard] : read_index(folder, index)) files.insert(shard);
  return {files.begin(), files.end()};
}

TensorMap read_checkpoint(const std::string& folder) {
  const std::string single = folder + kSingle, index = folder + kIndex;
  std::error_code ignored;
  if (std::filesystem::exists(single, ignored)) return read_safetensors(single);
  if (std::filesystem::exists(index, ignored)) return read_shards(folder, index);
  fail(ErrorCode::not_found, "{}: no model.safetensors and no model.safetensors.index.json (other weight files are not read)",
       folder);
}

}  // namespace bertie
