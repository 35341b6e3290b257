#include "models/model_info_json.h"

#include <array>
#include <limits>
#include <utility>

#include "base/error.h"
#include "formats/json.h"

namespace bertie::models {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::pair<ProblemType, std::string_view>, 4> kProblems = {{{ProblemType::none, "none"},
                                                                                {ProblemType::single_label, "single_label"},
                                                                                {ProblemType::multi_label, "multi_label"},
                                                                                {ProblemType::regression, "regression"}}};

template <typename Table, typename T>
std::string_view name_in(const Table& table, T wanted) {
  for (const auto& [value, name] : table) {
    if (value == wanted) return name;
  }
  return "";
}

template <typename Table>
auto value_in(const Table& table, const JsonFields& fields, std::string_view field) {
  const std::string wanted = fields.text(field);
  for (const auto& [value, name] : table) {
    if (name == wanted) return value;
  }
  fields.refuse(field, "a known name");
}

template <typename T>
void set_if(Json& json, const char* name, const std::optional<T>& value) {
  if (value) json[name] = *value;
}

std::vector<std::string> texts(const JsonFields& fields, std::string_view name) {
  std::vector<std::string> result;
  const Json* list = fields.find(name);
  if (!list || !list->is_array()) fields.refuse(name, "a list of texts");
  for (const Json& text : *list) {
    if (!text.is_string()) fields.refuse(name, "a list of texts");
    result.push_back(text.get<std::string>());
  }
  return result;
}

std::map<std::string, std::string, std::less<>> names_by_name(const JsonFields& fields, std::string_view name) {
  std::map<std::string, std::string, std::less<>> result;
  const Json* object = fields.find(name);
  if (!object || !object->is_object()) fields.refuse(name, "an object");
  for (const auto& [key, text] : object->items()) {
    if (!text.is_string()) fields.refuse(name, "texts by name");
    result.emplace(key, text.get<std::string>());
  }
  return result;
}

std::optional<int64_t> optional_integer(const JsonFields& fields, std::string_view name) {
  if (!fields.has(name)) return std::nullopt;
  return fields.integer(name, std::numeric_limits<int64_t>::min(), JsonFields::kMax);
}

Json pooling_json(const PoolingInfo& pooling) {
  Json dense = Json::array();
  for (const DenseInfo& layer : pooling.dense) {
    dense.push_back({{"in_features", layer.in_features}, {"out_features", layer.out_features}, {"activation", layer.activation}});
  }
  return {{"mode", pooling.mode}, {"dense", std::move(dense)}, {"normalize", pooling.normalize}};
}

PoolingInfo pooling_of(const Json& json, const std::string& file) {
  const JsonFields fields(json, file, "pooling.");
  PoolingInfo pooling;
  pooling.mode = fields.text("mode");
  pooling.normalize = fields.boolean_or("normalize", false);
  const Json* dense = fields.find("dense");
  if (!dense || !dense->is_array()) fields.refuse("dense", "a list");
  for (const Json& layer : *dense) {
    const JsonFields own(layer, file, "pooling.dense.");
    pooling.dense.push_back({own.integer("in_features", 0, JsonFields::kMax), own.integer("out_features", 0, JsonFields::kMax),
                             own.text("activation")});
  }
  return pooling;
}

}  // namespace

Json model_info_to_json(const ModelInfo& info) {
  // Every field is named, so that a new one does not compile until an engine file keeps it.
  const auto& [source, files, family, architecture, layers, hidden_size, heads, head_dim, ffn, vocabulary, max_positions,
               type_vocabulary, pad_id, labels, problem_type, score_activation, tasks, pooling, max_sequence_length, lower_case,
               output_names, squeezed_outputs, parameters, surplus_tensors] = info;
  static_cast<void>(source);
  static_cast<void>(files);
  Json json = {{"family", family},
               {"architecture", architecture},
               {"layers", layers},
               {"hidden_size", hidden_size},
               {"heads", heads},
               {"head_dim", head_dim},
               {"ffn", ffn},
               {"vocabulary", vocabulary},
               {"max_positions", max_positions},
               {"type_vocabulary", type_vocabulary},
               {"labels", labels},
               {"problem_type", name_in(kProblems, problem_type)},
               {"score_activation", score_activation},
               {"tasks", tasks},
               {"lower_case", lower_case},
               {"output_names", output_names},
               {"squeezed_outputs", squeezed_outputs},
               {"parameters", parameters},
               {"surplus_tensors", surplus_tensors}};
  set_if(json, "pad_id", pad_id);
  set_if(json, "max_sequence_length", max_sequence_length);
  if (pooling) json["pooling"] = pooling_json(*pooling);
  return json;
}

ModelInfo model_info_from_json(const Json& json, const std::string& file) {
  const JsonFields fields(json, file);
  const auto count = [&](std::string_view name) { return fields.integer(name, 0, JsonFields::kMax); };
  ModelInfo info;
  info.source = file;
  info.family = fields.text("family");
  info.architecture = fields.text("architecture");
  info.layers = count("layers");
  info.hidden_size = count("hidden_size");
  info.heads = count("heads");
  info.head_dim = count("head_dim");
  info.ffn = count("ffn");
  info.vocabulary = count("vocabulary");
  info.max_positions = count("max_positions");
  info.type_vocabulary = count("type_vocabulary");
  info.pad_id = optional_integer(fields, "pad_id");
  info.labels = texts(fields, "labels");
  info.problem_type = value_in(kProblems, fields, "problem_type");
  info.score_activation = fields.text("score_activation");
  info.tasks = texts(fields, "tasks");
  if (const Json* pooling = fields.find("pooling")) info.pooling = pooling_of(*pooling, file);
  info.max_sequence_length = optional_integer(fields, "max_sequence_length");
  info.lower_case = fields.boolean_or("lower_case", false);
  info.output_names = names_by_name(fields, "output_names");
  info.squeezed_outputs = texts(fields, "squeezed_outputs");
  info.parameters = count("parameters");
  info.surplus_tensors = texts(fields, "surplus_tensors");
  return info;
}

}  // namespace bertie::models
