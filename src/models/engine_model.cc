#include "models/engine_model.h"

#include <algorithm>

#include "backend/kernel_timings.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/panels.h"
#include "formats/engine_file.h"
#include "formats/json.h"
#include "models/model_info_json.h"
#include "network/network_json.h"
#include "network/op.h"

namespace bertie::models {
namespace {

// Below this one thread checks the sums sooner than a pool is started.
constexpr size_t kParallelBytes = size_t{8} << 20;

std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

class EngineModelReader {
 public:
  EngineModelReader(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner, const std::string& path)
      : owner_(owner), path_(path) {
    ThreadPool pool(bytes.size() < kParallelBytes ? 1 : 0);
    sections_ = parse_engine_file(bytes, path, pool);
  }

  LoadedModel read() {
    LoadedModel loaded;
    loaded.provenance = text_of(section("provenance"));
    read_timings(parse("provenance"), loaded);
    loaded.info = model_info_from_json(parse("model"), place("model"));
    loaded.info.source = path_;
    loaded.info.files = {path_};
    loaded.network = network_from_json(parse("network"), place("network"), tensors());
    if (find("tokenizer")) loaded.tokenizer_json = text_of(section("tokenizer"));
    return loaded;
  }

 private:
  std::string place(std::string_view name) const { return fmt::format("{}: section {}", path_, name); }

  const EngineSection* find(std::string_view name) const {
    const auto found =
        std::find_if(sections_.begin(), sections_.end(), [&](const EngineSection& section) { return section.name == name; });
    return found == sections_.end() ? nullptr : &*found;
  }

  std::span<const std::byte> section(std::string_view name) const {
    const EngineSection* found = find(name);
    if (!found) fail(ErrorCode::invalid_file, "{} is missing", place(name));
    return found->bytes;
  }

  nlohmann::json parse(std::string_view name) const { return parse_json_unique(text_of(section(name)), place(name)); }

  void read_timings(const nlohmann::json& provenance, LoadedModel& loaded) const {
    const JsonFields fields(provenance, place("provenance"));
    const nlohmann::json* kernels = fields.find("kernels");
    const nlohmann::json* timings = kernels ? JsonFields(*kernels, fields.file(), "kernels.").find("timings") : nullptr;
    if (!timings) return;
    loaded.timings = std::make_shared<KernelTimings>();
    loaded.timings->impl().read(*timings, fields.file());
  }

  std::vector<Tensor> tensors() const {
    const nlohmann::json list = parse("tensors");
    if (!list.is_array()) fail(ErrorCode::invalid_file, "{} must be a list", place("tensors"));
    const std::span<const std::byte> weights = section("weights");
    std::vector<Tensor> tensors;
    for (const nlohmann::json& json : list) tensors.push_back(tensor(json, weights));
    return tensors;
  }

  Tensor tensor(const nlohmann::json& json, std::span<const std::byte> weights) const {
    const JsonFields fields(json, place("tensors"));
    const std::string name = fields.text("name");
    const auto refuse = [&](const std::string& what) {
      fail(ErrorCode::invalid_file, "{}: tensor '{}': {}", fields.file(), name, what);
    };
    Tensor tensor;
    const std::optional<DType> dtype = dtype_named(fields.text("dtype"));
    if (!dtype) refuse("unknown dtype " + fields.text("dtype"));
    tensor.dtype = *dtype;
    const std::string layout = fields.text("layout");
    constexpr TensorLayout kLayouts[] = {TensorLayout::rows, TensorLayout::panels_16, TensorLayout::panels_16x4};
    const auto known =
        std::find_if(std::begin(kLayouts), std::end(kLayouts), [&](TensorLayout one) { return layout_name(one) == layout; });
    if (known == std::end(kLayouts)) {
      fail(ErrorCode::unsupported, "{}: tensor '{}': unknown layout {} (build the file again)", fields.file(), name, layout);
    }
    tensor.layout = *known;
    tensor.shape = shape(fields, refuse);
    const bool integers = tensor.layout == TensorLayout::panels_16x4;
    const bool suits = integers ? tensor.dtype == DType::i8
                                : tensor.dtype == DType::f32 || tensor.dtype == DType::f16 || tensor.dtype == DType::bf16;
    if (tensor.layout != TensorLayout::rows && (tensor.shape.rank() != 2 || !suits)) {
      refuse(fmt::format("only {} matrices lie in {}", integers ? "i8" : "f32, f16 and bf16", layout));
    }
    const auto limit = static_cast<int64_t>(weights.size());
    const auto offset = static_cast<size_t>(fields.integer("offset", 0, limit));
    const auto bytes = static_cast<size_t>(fields.integer("bytes", 0, limit));
    if (offset % kWeightAlignment != 0) refuse(fmt::format("offset {} is not a multiple of {}", offset, kWeightAlignment));
    if (bytes != tensor.bytes() || bytes > weights.size() - offset) {
      refuse(fmt::format("{} bytes at {} do not hold a tensor of shape {}", bytes, offset, tensor.shape.to_string()));
    }
    tensor.data = std::shared_ptr<const void>(owner_, weights.data() + offset);
    return tensor;
  }

  // Extents whose product, panels filled up, stays far from the range of 64 bits.
  template <typename Refuse>
  static Shape shape(const JsonFields& fields, const Refuse& refuse) {
    constexpr int64_t kMaxElements = int64_t{1} << 48;
    const nlohmann::json* list = fields.find("shape");
    if (!list || !list->is_array() || list->size() > Shape::kMaxRank) fields.refuse("shape", "a list of at most 8 extents");
    std::vector<int64_t> extents;
    int64_t product = kPanelWidth * kInt8PanelDepth;
    for (const nlohmann::json& json : *list) {
      const int64_t extent = json.is_number_integer() ? json.get<int64_t>() : -1;
      if (extent < 0 || extent > kMaxElements / std::max<int64_t>(product, 1)) refuse("an extent is out of range");
      product *= std::max<int64_t>(extent, 1);
      extents.push_back(extent);
    }
    return Shape(std::span<const int64_t>(extents));
  }

  std::shared_ptr<const void> owner_;
  const std::string& path_;
  std::vector<EngineSection> sections_;
};

}  // namespace

LoadedModel parse_engine_model(std::span<const std::byte> bytes, const std::shared_ptr<const void>& owner,
                               const std::string& path) {
  return EngineModelReader(bytes, owner, path).read();
}

LoadedModel load_engine_model(const std::string& path) {
  const auto file = MappedFile::open(path);
  return parse_engine_model(file->bytes(), file, path);
}

}  // namespace bertie::models
