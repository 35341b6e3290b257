#include "formats/hugging_face_config.h"

#include "base/error.h"
#include "formats/json.h"

namespace bertie {
namespace {

constexpr int64_t kMaxExtent = 1 << 24;  // of any one size in a config: far above real models, far below overflow
constexpr int64_t kMaxLayers = 4096;

// DistilBERT spells some names its own way; transformers reads both.
std::string_view spelled(const JsonFields& fields, std::string_view name, std::string_view distilbert_name) {
  const bool own = fields.text_or("model_type", "") == "distilbert" || !fields.has(name);
  return own && fields.has(distilbert_name) ? distilbert_name : name;
}

[[noreturn]] void unsupported(const JsonFields& fields, std::string_view name, std::string_view value) {
  fail(ErrorCode::unsupported, "{}: field '{}': {} is not supported", fields.file(), name, value);
}

// What would silently compute something else.
void refuse_other_computations(const JsonFields& fields) {
  const std::string positions = fields.text_or("position_embedding_type", "absolute");
  if (positions != "absolute") unsupported(fields, "position_embedding_type", "'" + positions + "'");
  for (const char* name : {"is_decoder", "add_cross_attention", "is_encoder_decoder"}) {
    if (fields.boolean_or(name, false)) unsupported(fields, name, "true");
  }
  const nlohmann::json* pruned = fields.find("pruned_heads");
  if (pruned && !pruned->empty()) unsupported(fields, "pruned_heads", "a model with pruned heads");
  // transformers computes 32 buckets whatever the field says.
  const int64_t buckets = fields.integer_or("relative_attention_num_buckets", 1, kMaxExtent, 32);
  if (buckets != 32) unsupported(fields, "relative_attention_num_buckets", std::to_string(buckets));
  if (const nlohmann::json* quantization = fields.find("quantization_config")) {
    if (!quantization->empty()) unsupported(fields, "quantization_config", "a quantised checkpoint");
  }
}

std::vector<std::string> read_labels(const JsonFields& fields) {
  const nlohmann::json* id2label = fields.find("id2label");
  const int64_t stated = fields.integer_or("num_labels", 0, kMaxExtent, id2label ? 0 : 2);
  if (id2label && !id2label->is_object()) fields.refuse("id2label", "an object");
  const int64_t count = id2label ? static_cast<int64_t>(id2label->size()) : stated;
  std::vector<std::string> labels;
  for (int64_t id = 0; id < count; ++id) {
    if (!id2label) {
      labels.push_back("LABEL_" + std::to_string(id));
      continue;
    }
    const auto label = id2label->find(std::to_string(id));
    if (label == id2label->end()) fields.refuse("id2label", fmt::format("an object with the ids 0 to {}", count - 1));
    if (label->is_string()) {
      labels.push_back(label->get<std::string>());
    } else if (label->is_number_integer()) {
      labels.push_back(std::to_string(label->get<int64_t>()));
    } else {
      fields.refuse("id2label", "an object of strings");
    }
  }
  return labels;
}

// Where a cross-encoder's folder says which torch class makes a score from a logit: now, and before sentence-transformers 4.
std::string read_score_activation(const JsonFields& fields) {
  if (const nlohmann::json* section = fields.find("sentence_transformers")) {
    const JsonFields inner(*section, fields.file(), "sentence_transformers.");
    if (inner.has("activation_fn")) return inner.text("activation_fn");
  }
  return fields.text_or("sbert_ce_default_activation_function", "");
}

std::string first_architecture(const JsonFields& fields) {
  const nlohmann::json* list = fields.find("architectures");
  if (!list) return "";
  if (!list->is_array() || (!list->empty() && !list->front().is_string())) fields.refuse("architectures", "a list of strings");
  return list->empty() ? "" : list->front().get<std::string>();
}

}  // namespace

HuggingFaceConfig parse_hugging_face_config(std::string_view text, const std::string& file) {
  const nlohmann::json json = parse_json(text, file);
  const JsonFields fields(json, file);
  HuggingFaceConfig config;
  config.file = file;
  config.model_type = fields.text_or("model_type", "");
  config.architecture = first_architecture(fields);
  refuse_other_computations(fields);
  config.hidden_size = fields.integer(spelled(fields, "hidden_size", "dim"), 1, kMaxExtent);
  config.layers = fields.integer(spelled(fields, "num_hidden_layers", "n_layers"), 0, kMaxLayers);
  config.heads = fields.integer(spelled(fields, "num_attention_heads", "n_heads"), 1, kMaxExtent);
  config.intermediate_size = fields.integer(spelled(fields, "intermediate_size", "hidden_dim"), 1, kMaxExtent);
  config.vocabulary = fields.integer("vocab_size", 1, kMaxExtent);
  if (fields.has("embedding_size")) config.embedding_size = fields.integer("embedding_size", 1, kMaxExtent);
  config.max_position_embeddings = fields.integer_or("max_position_embeddings", 1, kMaxExtent, config.max_position_embeddings);
  config.type_vocabulary = fields.integer_or("type_vocab_size", 0, kMaxExtent, config.type_vocabulary);
  if (fields.has("pad_token_id")) config.pad_token_id = fields.integer("pad_token_id", 0, kMaxExtent);
  const std::string_view activation = spelled(fields, "hidden_act", "activation");
  if (fields.has(activation)) config.hidden_act = fields.text(activation);
  config.layer_norm_eps = fields.real_or("layer_norm_eps", 0, 1, config.layer_norm_eps);
  config.tie_word_embeddings = fields.boolean_or("tie_word_embeddings", true);
  config.hidden_groups = fields.integer_or("num_hidden_groups", 1, kMaxLayers, 1);
  config.inner_groups = fields.integer_or("inner_group_num", 1, kMaxLayers, 1);
  if (config.layers * config.inner_groups > kMaxLayers) {
    fields.refuse("inner_group_num", fmt::format("small enough for {} layers in all", kMaxLayers));
  }
  config.problem_type = fields.text_or("problem_type", "");
  config.labels = read_labels(fields);
  config.score_activation = read_score_activation(fields);
  return config;
}

}  // namespace bertie
