#include "models/sentence_transformers.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"
#include "models/builder.h"

namespace bertie::models {
namespace {

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::string activation_of_torch(const std::string& torch_class, const std::string& file) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kNames = {{
      {"Identity", "identity"},
      {"Tanh", "tanh"},
      {"ReLU", "relu"},
      {"GELU", "gelu"},
      {"SiLU", "silu"},
      {"Sigmoid", "sigmoid"},
  }};
  for (const auto& [name, activation] : kNames) {
    if (name == torch_class) return std::string(activation);
  }
  fail(ErrorCode::unsupported, "{}: field 'activation_function': '{}' is not supported", file, torch_class);
}

ValueId add_dense(Network& network, ValueId x, const std::string& folder, const std::string& node, PoolingInfo& pooling,
                  ModelInfo& info) {
  const std::string file = folder + "/config.json";
  const SentenceDense dense = parse_sentence_dense(read_text_file(file), file);
  const int64_t width = network.value(x).shape.back().size;
  if (dense.in_features != width) fail(ErrorCode::invalid_file, "{}: field 'in_features' must be {}", file, width);
  Weights weights(read_checkpoint(folder), "", folder);
  const ValueId weight = weights.constant(network, "linear.weight", Shape{dense.out_features, dense.in_features});
  const ValueId bias = dense.bias ? weights.constant(network, "linear.bias", Shape{dense.out_features}) : kNone;
  const std::string activation = activation_of_torch(dense.activation, file);
  pooling.dense.push_back({dense.in_features, dense.out_features, activation});
  info.parameters += weights.parameters();
  return add_activation(network, activation, network.add_linear(x, weight, bias, node), node + ".activation");
}

}  // namespace

// The library's own length limit, else the tokenizer's truncation, else what the tokenizer calls its maximum (where
// sentence-transformers 6 keeps it), else the positions.
void read_sentence_limits(const std::string& transformer_folder, ModelInfo& info) {
  std::optional<int64_t> limit;
  const std::string file = transformer_folder + "/sentence_bert_config.json";
  if (exists(file)) {
    const SentenceLimits limits = parse_sentence_limits(read_text_file(file), file);
    limit = limits.max_seq_length;
    info.lower_case = limits.do_lower_case;
  }
  const std::string tokenizer = transformer_folder + "/tokenizer.json";
  if (!limit && exists(tokenizer)) {
    const auto mapped = MappedFile::open(tokenizer);
    limit = tokenizer_truncation({reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size()});
  }
  const std::string tokenizer_config = transformer_folder + "/tokenizer_config.json";
  if (!limit && exists(tokenizer_config)) limit = tokenizer_model_max_length(read_text_file(tokenizer_config));
  info.max_sequence_length = std::min(limit.value_or(info.max_positions), info.max_positions);
}

std::vector<SentenceModule> read_sentence_modules(const std::string& folder) {
  const std::string file = folder + "/modules.json";
  return exists(file) ? parse_sentence_modules(read_text_file(file), file) : std::vector<SentenceModule>{};
}

void build_sentence_embedding(Network& network, const EncoderValues& encoder, const std::string& folder,
                              const std::string& transformer_folder, const std::vector<SentenceModule>& modules,
                              ModelInfo& info) {
  constexpr double kNormEpsilon = 1e-12;  // torch.nn.functional.normalize
  PoolingInfo pooling;
  ValueId x = kNone;
  for (size_t i = 1; i < modules.size(); ++i) {
    const SentenceModule& module = modules[i];
    const std::string module_folder = folder + "/" + module.path;
    if ((module.kind == "Pooling") != (x == kNone)) {
      fail(ErrorCode::unsupported, "{}/modules.json: a {} at place {} is not supported", folder, module.kind, i);
    }
    if (module.kind == "Pooling") {
      const std::string file = module_folder + "/config.json";
      const SentencePooling stated = parse_sentence_pooling(read_text_file(file), file);
      const Dim& width = network.value(encoder.hidden).shape.back();
      if (!(width == Dim(stated.dimension))) {
        fail(ErrorCode::invalid_file, "{}: the embedding dimension must be {}", file, to_string(SymbolicShape{width}));
      }
      pooling.mode = stated.mode;
      x = network.add_pool(encoder.hidden, encoder.mask, stated.mode, "sentence.pooling");
    } else if (module.kind == "Dense") {
      x = add_dense(network, x, module_folder, "sentence.dense." + std::to_string(pooling.dense.size()), pooling, info);
    } else if (module.kind == "Normalize") {
      pooling.normalize = true;
      x = network.add_normalize(x, kNormEpsilon, "sentence.normalize");
    }
  }
  if (x == kNone) return;
  network.add_output("sentence_embedding", x);
  info.pooling = std::move(pooling);
  info.tasks.emplace_back("embed");
  read_sentence_limits(transformer_folder, info);
}

}  // namespace bertie::models
