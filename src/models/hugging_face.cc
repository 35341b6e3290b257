#include "models/hugging_face.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"
#include "models/builder.h"
#include "models/sentence_transformers.h"

namespace bertie::models {
namespace {

const Family& family_of(const HuggingFaceConfig& config) {
  for (const Family* family : families()) {
    if (family->model_type == config.model_type) return *family;
  }
  const Family* named = config.model_type.empty() ? family_of_architecture(config.architecture) : nullptr;
  if (named) return *named;  // configs from before model_type existed
  if (config.model_type.empty()) fail(ErrorCode::unsupported, "{}: field 'model_type' is missing", config.file);
  fail(ErrorCode::unsupported, "{}: field 'model_type': '{}' is not supported", config.file, config.model_type);
}

// What checkpoints hold beside the network without harm: buffers, next-sentence heads, poolers, repeated decoders.
bool is_harmless(std::string_view name, const Family& family) {
  if (name.starts_with(family.prefix)) name.remove_prefix(family.prefix.size());
  if (name == "embeddings.position_ids" || name == "embeddings.token_type_ids" || name == family.masked.bias) return true;
  const std::array<std::string_view, 4> modules = {"cls.seq_relationship", "sop_classifier", "pooler", family.masked.decoder};
  return std::any_of(modules.begin(), modules.end(), [&](std::string_view module) {
    return name.starts_with(module) && name.substr(module.size()).starts_with('.');
  });
}

int64_t pad_id(const Family& family, const HuggingFaceConfig& config) { return config.pad_token_id.value_or(family.pad_id); }

PositionRule position_rule(const Family& family, int64_t pad_id) {
  PositionRule rule;
  if (family.counts_non_pad) {
    rule.padding_id = static_cast<int32_t>(family.position_pad_id.value_or(pad_id));
    rule.first = rule.padding_id + 1;
  }
  return rule;
}

ModelInfo describe(const Family& family, const HuggingFaceConfig& config, const PositionRule& positions,
                   const std::string& source) {
  ModelInfo info;
  info.source = source;
  info.family = family.model_type;
  info.architecture = config.architecture;
  info.layers = config.layers * config.inner_groups;
  info.hidden_size = config.hidden_size;
  info.heads = config.heads;
  info.head_dim = config.hidden_size / config.heads;
  info.ffn = config.intermediate_size;
  info.vocabulary = config.vocabulary;
  info.type_vocabulary = family.has_types ? config.type_vocabulary : 0;
  info.pad_id = pad_id(family, config);
  info.max_positions = config.max_position_embeddings - positions.first;
  if (info.max_positions < 1) {
    fail(ErrorCode::invalid_file, "{}: field 'max_position_embeddings' must be over {}", config.file, positions.first);
  }
  return info;
}

LoadedModel build(const HuggingFaceConfig& config, TensorMap tensors, const std::string& folder,
                  const std::string& transformer_folder, const std::vector<SentenceModule>& modules) {
  const Family& family = family_of(config);
  LoadedModel loaded;
  const PositionRule positions = position_rule(family, pad_id(family, config));
  loaded.info = describe(family, config, positions, folder);
  loaded.network.set_position_rule(positions);
  Weights weights(std::move(tensors), std::string(family.prefix), transformer_folder);
  Builder builder{family, config, weights, loaded.network};
  build_encoder(builder);
  build_heads(builder, loaded.info);
  build_sentence_embedding(loaded.network, {builder.hidden, builder.mask}, folder, transformer_folder, modules, loaded.info);
  loaded.info.parameters += weights.parameters();
  for (std::string& name : weights.unused()) {
    if (!is_harmless(name, family)) loaded.info.surplus_tensors.push_back(std::move(name));
  }
  return loaded;
}

std::vector<std::string> files_read(const std::string& folder, const std::string& transformer_folder,
                                    const std::vector<SentenceModule>& modules) {
  std::vector<std::string> files;
  const auto add_if_there = [&](const std::string& file) {
    std::error_code ignored;
    if (std::filesystem::exists(file, ignored)) files.push_back(file);
  };
  const auto add_folder = [&](const std::string& from) {
    add_if_there(from + "/config.json");
    for (std::string& file : checkpoint_files(from)) files.push_back(std::move(file));
  };
  add_folder(transformer_folder);
  if (modules.empty()) return files;
  add_if_there(folder + "/modules.json");
  add_if_there(transformer_folder + "/sentence_bert_config.json");
  for (size_t i = 1; i < modules.size(); ++i) {
    if (!modules[i].path.empty()) add_folder(folder + "/" + modules[i].path);
  }
  return files;
}

}  // namespace

int64_t first_position(const HuggingFaceConfig& config) {
  for (const Family* family : families()) {
    if (family->model_type == config.model_type) return position_rule(*family, pad_id(*family, config)).first;
  }
  return 0;
}

bool has_tokenizer(const std::string& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder + "/tokenizer.json", ignored) || std::filesystem::exists(folder + "/vocab.txt", ignored);
}

LoadedModel load_hugging_face(const std::string& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) fail(ErrorCode::not_found, "{}: no such model folder", folder);
  const std::vector<SentenceModule> modules = read_sentence_modules(folder);
  const std::string inner = modules.empty() ? "" : modules.front().path;
  const std::string transformer_folder = inner.empty() ? folder : folder + "/" + inner;
  const std::string config_file = transformer_folder + "/config.json";
  const HuggingFaceConfig config = parse_hugging_face_config(read_text_file(config_file), config_file);
  family_of(config);  // a clearer error than that of a missing weight file
  LoadedModel loaded = build(config, read_checkpoint(transformer_folder), folder, transformer_folder, modules);
  loaded.info.files = files_read(folder, transformer_folder, modules);
  loaded.tokenizer = has_tokenizer(transformer_folder) ? transformer_folder : folder;
  return loaded;
}

LoadedModel build_model(const HuggingFaceConfig& config, TensorMap tensors, const std::string& source) {
  return build(config, std::move(tensors), source, source, {});
}

}  // namespace bertie::models
