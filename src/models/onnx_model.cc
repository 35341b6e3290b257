#include "models/onnx_model.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "formats/onnx_file.h"
#include "models/builder.h"
#include "models/onnx_import.h"
#include "models/sentence_transformers.h"
#include "network/op.h"

namespace bertie::models {
namespace {

namespace fs = std::filesystem;

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// The file's folder and the one above it, of which either may hold what belongs to the model.
std::array<std::string, 2> folders_of(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  return {folder.empty() ? "." : folder.string(), (folder / "..").lexically_normal().string()};
}

// config.json only informs here: what it says of a computation that bertie lacks is no obstacle, the graph is what is computed.
std::optional<HuggingFaceConfig> read_config(const std::string& path) {
  for (const std::string& folder : folders_of(path)) {
    const std::string file = folder + "/config.json";
    if (!exists(file)) continue;
    try {
      return parse_hugging_face_config(read_text_file(file), file);
    } catch (const Error& error) {
      log(LogLevel::warning, "{}; the graph is used without it", error.what());
    }
  }
  return std::nullopt;
}

// Constant tables [N, E] out of which rows are gathered.
struct Tables {
  int64_t vocabulary = 0;
  int64_t types = 0;
  int64_t positions = 0;
  int64_t width = 0;
};

// The input that `value` is, also behind casts; kNone.
ValueId source_input(const Network& network, ValueId value) {
  while (value != kNone) {
    const NodeId producer = network.value(value).producer;
    if (producer == kNone) return network.value(value).constant ? kNone : value;
    if (network.node(producer).op != "cast") return kNone;
    value = network.node(producer).input(0);
  }
  return kNone;
}

Tables find_tables(const Network& network) {
  Tables tables;
  for (const NodeId id : network.order()) {
    const Node& node = network.node(id);
    const bool fused = node.op == "embedding_layer_norm";
    if (!fused && node.op != "gather" && node.op != "embedding") continue;
    const auto count = [&](ValueId table_id, ValueId ids) {
      if (table_id == kNone || ids == kNone) return;
      const Value& table = network.value(table_id);
      if (!table.constant || table.shape.size() != 2 || !is_float(table.dtype)) return;
      const ValueId input = source_input(network, ids);
      const InputRole role = input == kNone ? InputRole::position_ids : network.value(input).role;
      const int64_t rows = table.shape[0].size;
      if (role == InputRole::token_ids) {
        tables.vocabulary = rows;
        tables.width = table.shape[1].size;
      }
      if (role == InputRole::type_ids) tables.types = rows;
      if (role == InputRole::position_ids && table.shape[1].size > 1) tables.positions = std::max(tables.positions, rows);
    };
    if (fused) {
      for (size_t i = 0; i < 3; ++i) count(node.input(3 + i), node.input(i));
    } else {
      count(node.input(0), node.input(1));
    }
  }
  return tables;
}

const Network::Output* find_output(const Network& network, std::initializer_list<std::string_view> names, size_t rank) {
  for (std::string_view name : names) {
    for (const Network::Output& output : network.outputs()) {
      const Value& value = network.value(output.value);
      if (output.name == name && value.shape.size() == rank && is_float(value.dtype)) return &output;
    }
  }
  return nullptr;
}

// The only floating output of this rank.
const Network::Output* only_output(const Network& network, size_t rank) {
  const Network::Output* found = nullptr;
  for (const Network::Output& output : network.outputs()) {
    const Value& value = network.value(output.value);
    if (value.shape.size() != rank || !is_float(value.dtype)) continue;
    if (found) return nullptr;
    found = &output;
  }
  return found;
}

enum class Head { unknown, none, masked, sequence, token, question_answering };

Head head_of(const std::string& architecture) {
  constexpr std::pair<std::string_view, Head> kEndings[] = {{"ForMaskedLM", Head::masked},
                                                            {"ForSequenceClassification", Head::sequence},
                                                            {"ForTokenClassification", Head::token},
                                                            {"ForQuestionAnswering", Head::question_answering},
                                                            {"Model", Head::none}};
  for (const auto& [ending, head] : kEndings) {
    if (std::string_view(architecture).ends_with(ending)) return head;
  }
  return Head::unknown;
}

int64_t last_extent(const Network& network, const Network::Output& output) {
  const Dim& dim = network.value(output.value).shape.back();
  return dim.is_fixed() ? dim.size : 0;
}

void name_outputs(const Network& network, Head head, ModelInfo& info) {
  const auto name = [&](std::string_view canonical, const Network::Output* output) {
    if (output) info.output_names[std::string(canonical)] = output->name;
    return output != nullptr;
  };
  name("last_hidden_state", find_output(network, {"last_hidden_state", "token_embeddings", "hidden_states"}, 3));
  name("pooler_output", find_output(network, {"pooler_output"}, 2));
  name("sentence_embedding", find_output(network, {"sentence_embedding", "sentence_embeddings", "embedding", "embeddings"}, 2));
  name("start_logits", find_output(network, {"start_logits", "start"}, 2));
  name("end_logits", find_output(network, {"end_logits", "end"}, 2));
  const size_t rank = head == Head::sequence ? 2 : 3;
  const Network::Output* logits = find_output(network, {"logits", "prediction_logits"}, rank);
  if (!logits && head == Head::unknown) logits = find_output(network, {"logits"}, 2);
  const bool wanted = head == Head::masked || head == Head::sequence || head == Head::token;
  if (!logits && wanted) logits = only_output(network, rank);
  name("logits", logits);
  if (head == Head::none && !info.output_names.contains("last_hidden_state")) name("last_hidden_state", only_output(network, 3));
}

// By the architecture where config.json states it, by the outputs' shapes otherwise.
void name_tasks(const Network& network, Head head, const std::optional<HuggingFaceConfig>& config, ModelInfo& info) {
  const auto logits = std::find_if(network.outputs().begin(), network.outputs().end(), [&](const Network::Output& output) {
    const auto name = info.output_names.find("logits");
    return name != info.output_names.end() && output.name == name->second;
  });
  if (info.output_names.contains("start_logits") && info.output_names.contains("end_logits")) info.tasks.emplace_back("answer");
  if (info.output_names.contains("sentence_embedding")) info.tasks.emplace_back("embed");
  if (logits == network.outputs().end()) return;
  const int64_t width = last_extent(network, *logits);
  const bool per_token = network.value(logits->value).shape.size() == 3;
  if (per_token && (head == Head::masked || (head == Head::unknown && width == info.vocabulary))) {
    info.tasks.emplace_back("fill-mask");
    return;
  }
  if (config && static_cast<int64_t>(config->labels.size()) == width) {
    info.labels = config->labels;
  } else {
    for (int64_t i = 0; i < width; ++i) info.labels.push_back("LABEL_" + std::to_string(i));
  }
  info.tasks.emplace_back(per_token ? "tag" : "classify");
  if (per_token) return;
  info.problem_type = config ? problem_type(*config) : width == 1 ? ProblemType::multi_label : ProblemType::single_label;
  if (width != 1) return;
  info.score_activation = config ? score_activation(*config) : "sigmoid";
  info.tasks.emplace_back("rerank");
}

void describe(const Network& network, const std::optional<HuggingFaceConfig>& config, ModelInfo& info) {
  const Tables tables = find_tables(network);
  info.vocabulary = tables.vocabulary;
  info.hidden_size = tables.width;
  info.type_vocabulary = network.input_of(InputRole::type_ids) == kNone ? 0 : std::max<int64_t>(tables.types, 1);
  info.max_positions = tables.positions;
  if (config) {
    info.architecture = config->architecture;
    info.layers = config->layers * config->inner_groups;
    info.hidden_size = config->hidden_size;
    info.heads = config->heads;
    info.head_dim = config->hidden_size / config->heads;
    info.ffn = config->intermediate_size;
    info.pad_id = config->pad_token_id;
    if (info.vocabulary == 0) info.vocabulary = config->vocabulary;
    const int64_t positions = config->max_position_embeddings - first_position(*config);
    info.max_positions = info.max_positions == 0 ? positions : std::min(info.max_positions, positions);
  }
  constexpr int64_t kUsualPositions = 512;
  if (info.max_positions < 1) info.max_positions = kUsualPositions;
  for (size_t id = 0; id < network.value_count(); ++id) {
    const Value& value = network.value(static_cast<ValueId>(id));
    if (value.constant && (is_float(value.dtype) || value.dtype == DType::i8 || value.dtype == DType::u8)) {
      info.parameters += value.constant->shape.elements();
    }
  }
}

// A sentence-transformers folder around the file: its pooling where the graph ends at the tokens, its length limit in any case.
void add_sentence_embedding(const std::string& path, LoadedModel& loaded) {
  ModelInfo& info = loaded.info;
  for (const std::string& folder : folders_of(path)) {
    const std::vector<SentenceModule> modules = read_sentence_modules(folder);
    if (modules.empty()) continue;
    const std::string inner = modules.front().path;
    const std::string transformer_folder = inner.empty() ? folder : folder + "/" + inner;
    const auto hidden = info.output_names.find("last_hidden_state");
    if (info.output_names.contains("sentence_embedding") || hidden == info.output_names.end()) {
      read_sentence_limits(transformer_folder, info);
      return;
    }
    const Network::Output* tokens = find_output(loaded.network, {hidden->second}, 3);
    const EncoderValues encoder{tokens->value, loaded.network.input_of(InputRole::attention_mask)};
    build_sentence_embedding(loaded.network, encoder, folder, transformer_folder, modules, info);
    info.output_names["sentence_embedding"] = "sentence_embedding";
    return;
  }
}

}  // namespace

LoadedModel load_onnx(const std::string& path) {
  const std::optional<HuggingFaceConfig> config = read_config(path);
  LoadedModel loaded;
  onnx::Model model = onnx::read_onnx(path);
  log(LogLevel::info, "{}: by {}", path, model.producer.empty() ? "an unnamed producer" : model.producer);
  std::vector<std::string> files = {path};
  for (const std::string& external : model.external_files) files.push_back(folders_of(path)[0] + "/" + external);
  for (const std::string& folder : folders_of(path)) {
    if (!config || !exists(folder + "/config.json")) continue;
    files.push_back(folder + "/config.json");
    break;
  }
  loaded.network = import_onnx(std::move(model));
  ModelInfo& info = loaded.info;
  info.source = path;
  info.files = std::move(files);
  info.family = config && !config->model_type.empty() ? config->model_type : "onnx";
  describe(loaded.network, config, info);
  const Head head = config ? head_of(config->architecture) : Head::unknown;
  name_outputs(loaded.network, head, info);
  name_tasks(loaded.network, head, config, info);
  add_sentence_embedding(path, loaded);
  for (const std::string& folder : folders_of(path)) {
    if (loaded.tokenizer.empty() && has_tokenizer(folder)) loaded.tokenizer = folder;
  }
  return loaded;
}

}  // namespace bertie::models
