// Writes an engine file: docs/design/engine-file.md says what is in it, models/engine_model.h reads it.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>

#include <nlohmann/json.hpp>

#include "backend/kernel_timings.h"
#include "base/error.h"
#include "base/float16.h"
#include "base/panels.h"
#include "bertie/engine.h"
#include "bertie/model.h"
#include "engine/backends.h"
#include "formats/engine_file.h"
#include "models/engine_model.h"
#include "models/model_info_json.h"
#include "models/weights_hash.h"
#include "network/network_json.h"
#include "network/op.h"
#include "passes/pass.h"
#include "passes/weight_rows.h"

namespace bertie {
namespace {

using Json = nlohmann::json;

// Constants as they will lie in the file, each once however many values share its bytes.
class WeightTable {
 public:
  explicit WeightTable(const Network& network) {
    enum class Use : uint8_t { other, weight, bf16_weight };  // of linear layers, alone
    std::map<Key, Use> uses;
    const auto note = [&](ValueId id, Use use) {
      if (id == kNone || !network.value(id).constant) return;
      const Tensor& tensor = *network.value(id).constant;
      const auto [number, fresh] = numbers_.try_emplace(key(tensor), entries_.size());
      if (fresh) entries_.push_back({network.value(id).name, tensor});
      values_.emplace(id, number->second);
      const auto [found, first] = uses.try_emplace(key(tensor), use);
      if (!first) found->second = std::min(found->second, use);
    };
    for (NodeId node_id : network.order()) {
      const Node& node = network.node(node_id);
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const bool weight = (node.op == "linear" && i == 1) || (node.op == "int8_linear" && i == 2);
        note(node.inputs[i], !weight ? Use::other : is_linear_in(node, "bf16") ? Use::bf16_weight : Use::weight);
      }
    }
    for (const Network::Output& output : network.outputs()) note(output.value, Use::other);
    WeightRows threads;
    for (Entry& entry : entries_) {
      const Tensor& tensor = entry.tensor;
      const Use use = uses.at(key(tensor));
      const bool packable = use != Use::other && tensor.shape.rank() == 2 && is_packable(tensor.dtype);
      if (packable && use == Use::bf16_weight && tensor.dtype != DType::bf16) {
        entry.tensor = rounded_to_bf16(tensor.row_major(), threads);
      }
      entry.packed = packable && tensor.layout == TensorLayout::rows;
      entry.stored = {tensor.dtype, tensor.shape, nullptr, tensor.layout};
      if (entry.packed) entry.stored.layout = tensor.dtype == DType::i8 ? TensorLayout::panels_16x4 : TensorLayout::panels_16;
      entry.offset = size_;
      size_ = (size_ + entry.stored.bytes() + models::kWeightAlignment - 1) / models::kWeightAlignment * models::kWeightAlignment;
    }
  }

  size_t number(ValueId id) const { return values_.at(id); }
  size_t size() const { return size_; }

  Json json() const {
    Json list = Json::array();
    for (const Entry& entry : entries_) {
      list.push_back({{"name", entry.name},
                      {"dtype", dtype_name(entry.stored.dtype)},
                      {"shape", std::vector<int64_t>(entry.stored.shape.begin(), entry.stored.shape.end())},
                      {"layout", layout_name(entry.stored.layout)},
                      {"offset", entry.offset},
                      {"bytes", entry.stored.bytes()}});
    }
    return list;
  }

  // The section's bytes, packed in parallel; `network`'s constants become those in it.
  std::span<const std::byte> pack(Network& network, ThreadPool& pool) const {
    const size_t room = std::max(size_, models::kWeightAlignment);
    const std::shared_ptr<std::byte> bytes(static_cast<std::byte*>(std::aligned_alloc(models::kWeightAlignment, room)),
                                           std::free);
    if (!bytes) fail(ErrorCode::out_of_memory, "packed weights need {} bytes", room);
    const std::span<std::byte> all(bytes.get(), size_);
    constexpr size_t kPiece = 1 << 20;
    pool.parallel_for(static_cast<int64_t>((size_ + kPiece - 1) / kPiece), [&](int64_t piece, int) {
      const size_t begin = static_cast<size_t>(piece) * kPiece;
      fill(begin, all.subspan(begin, std::min(kPiece, size_ - begin)));
    });
    for (const auto& [id, number] : values_) {
      Value& value = network.mutable_value(id);
      value.constant = entries_[number].stored;
      value.constant->data = std::shared_ptr<const void>(bytes, bytes.get() + entries_[number].offset);
      value.dtype = value.constant->dtype;
    }
    return all;
  }

 private:
  using Key = std::tuple<const void*, DType, std::vector<int64_t>>;
  struct Entry {
    std::string name;
    Tensor tensor;
    Tensor stored;  // without data: how it lies in the file
    size_t offset = 0;
    bool packed = false;  // on its way into the file
  };

  static Key key(const Tensor& tensor) {
    return {tensor.data.get(), tensor.dtype, std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end())};
  }
  // Bytes [offset, offset + out.size()) of the section; offset is a multiple of kWeightAlignment.
  void fill(size_t offset, std::span<std::byte> out) const {
    std::fill(out.begin(), out.end(), std::byte{0});
    auto entry = std::upper_bound(entries_.begin(), entries_.end(), offset,
                                  [](size_t at, const Entry& candidate) { return at < candidate.offset; });
    if (entry != entries_.begin()) --entry;
    for (; entry != entries_.end() && entry->offset < offset + out.size(); ++entry) {
      const size_t begin = std::max(offset, entry->offset);
      const size_t end = std::min(offset + out.size(), entry->offset + entry->stored.bytes());
      if (begin >= end) continue;
      std::byte* to = out.data() + (begin - offset);
      if (entry->packed) {
        const size_t line = kPanelWidth * (entry->stored.dtype == DType::i8 ? 4 : dtype_size(entry->stored.dtype));
        const auto first = static_cast<int64_t>((begin - entry->offset) / line),
                   last = static_cast<int64_t>((end - entry->offset) / line);
        if (entry->stored.dtype == DType::i8)
          pack_int8_panel_lines(entry->tensor.view(), first, last, reinterpret_cast<int8_t*>(to));
        else
          pack_panel_lines(entry->tensor.view(), first, last, to);
      } else {
        std::memcpy(to, static_cast<const std::byte*>(entry->tensor.data.get()) + (begin - entry->offset), end - begin);
      }
    }
  }
  static Tensor rounded_to_bf16(const Tensor& rows, WeightRows& threads) {
    const int64_t width = rows.shape[1];
    std::shared_ptr<uint16_t[]> rounded(new uint16_t[static_cast<size_t>(rows.shape.elements())]);
    threads.for_each(rows, false, [&](int64_t r, std::span<const float> row) {
      std::transform(row.begin(), row.end(), rounded.get() + r * width, float_to_bf16);
    });
    return {DType::bf16, rows.shape, std::shared_ptr<const void>(rounded, rounded.get())};
  }
  static bool is_packable(DType dtype) {
    return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::i8;
  }

  std::vector<Entry> entries_;
  std::map<Key, size_t> numbers_;
  std::map<ValueId, size_t> values_;
  size_t size_ = 0;
};

// Layers in eight bits lie in the file as such, with the scales of the calibration, and those in bfloat16 with rounded weights; the engine
// over the file is built without a calibration.
void hold_precisions(Network& network, const EngineOptions& options, EngineOptions& of_file) {
  const bool automatic = options.precision == "auto";
  if (automatic && !options.calibration) return;  // which building refuses
  const bool held = options.precision == "int8" || options.precision == "fp8" || options.precision == "bf16";
  if (!held && !automatic && options.layer_precision.empty()) return;
  PassOptions passes = pass_options(options);
  passes.linear_only = target_of(options.device).linear_only();
  if (bertie::hold_precisions(network, passes) == 0) return;
  network.remove_dead_nodes();
  of_file.calibration = nullptr;
  if (automatic) of_file.precision = "fp32";
}

// Names relative to the model's folder, so that the same files elsewhere give the same engine file.
Json sources_json(const ModelInfo& info) {
  namespace fs = std::filesystem;
  const fs::path source(info.source);
  std::error_code ignored;
  const fs::path folder = fs::is_directory(source, ignored) ? source : source.parent_path();
  Json sources = Json::array();
  for (const std::string& file : info.files) {
    fs::path name = fs::path(file).lexically_relative(folder.empty() ? "." : folder);
    if (name.empty() || *name.begin() == "..") name = fs::path(file).filename();
    sources.push_back(
        {{"file", name.generic_string()}, {"bytes", fs::file_size(file, ignored)}, {"xxh3_128", models::hash_of_file(file)}});
  }
  return sources;
}

Json passes_json(std::span<const PassReport> passes) {
  Json list = Json::array();
  for (const PassReport& pass : passes) {
    list.push_back({{"number", pass.number}, {"name", pass.name}, {"matches", pass.matches}, {"lines", pass.lines}});
  }
  return list;
}

Json kernels_json(const Engine& engine) {
  Json steps = Json::array();
  for (const StepInfo& step : engine.steps()) {
    steps.push_back({{"step", step.name},
                     {"op", step.op},
                     {"kernel", engine.timings() ? step.kernel : step.portable_name},
                     {"reason", step.reason}});
  }
  if (!engine.timings()) return {{"chosen", "by rule, alike on every machine"}, {"steps", std::move(steps)}};
  return {{"chosen", fmt::format("by timing on {}", fmt::join(engine.timings()->impl().machines(), ", "))},
          {"steps", std::move(steps)},
          {"timings", engine.timings()->impl().json()}};
}

// An engine file that is built again keeps where it came from and what was done to it.
Json provenance_json(const Model& model, const Engine& engine, const EngineOptions& options, std::span<const PassReport> passes) {
  Json json = {{"format", "bertie engine file"}, {"bertie", version()}};
  if (!model.provenance().empty()) {
    const Json before = Json::parse(model.provenance());
    for (const char* kept : {"sources", "passes"}) {
      if (before.contains(kept)) json[kept] = before[kept];
    }
  } else {
    json["sources"] = sources_json(model.info());
    json["passes"] = passes_json(passes);
  }
  json["options"] = {{"device", engine.options().device},
                     {"precision", options.precision},
                     {"layer_precision", engine.options().layer_precision},
                     {"disabled_passes", engine.options().disabled_passes}};
  if (options.calibration) {
    json["calibration"] = {{"method", options.calibration->method},
                           {"data_hash", options.calibration->data_hash},
                           {"texts", options.calibration->texts}};
  }
  json["kernels"] = kernels_json(engine);
  return json;
}

// Ends in a line end, so that a dump of the file reads well.
std::string dumped(const Json& json, const std::string& path, std::string_view section) {
  try {
    return json.dump() + "\n";
  } catch (const Json::exception&) {
    fail(ErrorCode::invalid_argument, "{}: section {}: a name is not valid UTF-8", path, section);
  }
}

}  // namespace

void save_engine(const Model& model, const std::string& path, const EngineOptions& options, const SaveProgress& progress) {
  if (!options.outputs.empty() || !options.select_rows.empty()) {
    fail(ErrorCode::invalid_argument, "{}: an engine file keeps every output and every row; tasks choose among them", path);
  }
  Network network = model.network();
  const std::vector<PassReport> passes = run_logical_passes(network, {{}, options.disabled_passes});
  network.remove_dead_nodes();
  EngineOptions of_file = options;
  hold_precisions(network, options, of_file);
  const WeightTable table(network);
  ThreadPool pool(options.threads);
  // Kernels are chosen for the weights as they will lie in the file.
  const std::span<const std::byte> weights = table.pack(network, pool);
  const std::shared_ptr<const Engine> engine = Engine::build(network, of_file);

  std::vector<std::pair<std::string, std::string>> texts = {
      {"provenance", dumped(provenance_json(model, *engine, options, passes), path, "provenance")},
      {"model", dumped(models::model_info_to_json(model.info()), path, "model")},
      {"network", dumped(network_to_json(network, [&](ValueId id) { return table.number(id); }), path, "network")},
      {"tensors", dumped(table.json(), path, "tensors")}};
  if (model.has_tokenizer()) texts.emplace_back("tokenizer", model.tokenizer()->json());
  std::vector<EngineSection> sections;
  for (const auto& [name, text] : texts) sections.push_back({.name = name, .bytes = std::as_bytes(std::span(text))});
  sections.push_back({.name = "weights", .bytes = weights});
  write_engine_file(path, sections, pool, progress);
}

}  // namespace bertie
