#include "formats/sentence_transformers_config.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/error.h"
#include "formats/json.h"

namespace bertie {
namespace {

constexpr int64_t kMaxFeatures = 1 << 24;

std::string_view after_last_dot(std::string_view text) { return text.substr(text.rfind('.') + 1); }

struct PoolingMode {
  std::string_view flag;       // the old spelling
  std::string_view name;       // the new one
  std::string_view pool_mode;  // the `pool` op's; empty: not supported
};
constexpr std::array kPoolingModes = {
    PoolingMode{"pooling_mode_cls_token", "cls", "cls"},
    PoolingMode{"pooling_mode_max_tokens", "max", "max"},
    PoolingMode{"pooling_mode_mean_tokens", "mean", "mean"},
    PoolingMode{"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", "mean_sqrt_length"},
    PoolingMode{"pooling_mode_weightedmean_tokens", "weightedmean", ""},
    PoolingMode{"pooling_mode_lasttoken", "lasttoken", ""},
};

std::vector<std::string> stated_pooling_modes(const JsonFields& fields) {
  std::vector<std::string> modes;
  const nlohmann::json* stated = fields.find("pooling_mode");
  if (stated && stated->is_string()) return {stated->get<std::string>()};
  if (stated && stated->is_array()) {
    for (const auto& mode : *stated) {
      if (!mode.is_string()) fields.refuse("pooling_mode", "a string or a list of strings");
      modes.push_back(mode.get<std::string>());
    }
    return modes;
  }
  if (stated) fields.refuse("pooling_mode", "a string or a list of strings");
  for (const PoolingMode& mode : kPoolingModes) {
    if (fields.boolean_or(mode.flag, false)) modes.emplace_back(mode.name);
  }
  return modes.empty() ? std::vector<std::string>{"mean"} : modes;
}

// Ends the parse as soon as the top-level "truncation" has been read.
class TruncationFinder : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::optional<int64_t> found;

  bool null() override { return !leaves_truncation(); }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ == 2 && in_truncation_ && key_ == "max_length" && value > 0 && value <= static_cast<uint64_t>(JsonFields::kMax)) {
      found = static_cast<int64_t>(value);
    }
    return true;
  }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return ++depth_ <= kMaxJsonDepth; }
  bool start_array(size_t) override { return ++depth_ <= kMaxJsonDepth; }
  bool end_object() override {
    --depth_;
    return !leaves_truncation();
  }
  bool end_array() override {
    --depth_;
    return !leaves_truncation();
  }
  bool key(string_t& name) override {
    if (depth_ == 1) in_truncation_ = name == "truncation";
    key_ = name;
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  bool leaves_truncation() const { return depth_ == 1 && in_truncation_; }

  int depth_ = 0;
  bool in_truncation_ = false;
  std::string key_;
};

}  // namespace

std::vector<SentenceModule> parse_sentence_modules(std::string_view text, const std::string& file) {
  const nlohmann::json json = parse_json(text, file);
  if (!json.is_array() || json.empty()) fail(ErrorCode::invalid_file, "{}: must hold a list of modules", file);
  std::vector<SentenceModule> modules;
  for (const auto& entry : json) {
    const JsonFields fields(entry, file, std::to_string(modules.size()) + ".");
    const std::string type = fields.text("type");
    constexpr std::array kKinds = {"Transformer", "Pooling", "Dense", "Normalize", "Dropout"};
    const std::string_view kind = after_last_dot(type);
    if (!type.starts_with("sentence_transformers.") || std::find(kKinds.begin(), kKinds.end(), kind) == kKinds.end()) {
      fail(ErrorCode::unsupported, "{}: a module of type '{}' is not supported", file, type);
    }
    SentenceModule module{std::string(kind), fields.text_or("path", "")};
    const std::filesystem::path path(module.path);
    if (path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end()) {
      fields.refuse("path", "a path inside the folder");
    }
    if ((module.kind == "Transformer") != modules.empty()) {
      fail(ErrorCode::unsupported, "{}: the first module, and no other, must be a Transformer", file);
    }
    modules.push_back(std::move(module));
  }
  return modules;
}

SentencePooling parse_sentence_pooling(std::string_view text, const std::string& file) {
  const nlohmann::json json = parse_json(text, file);
  const JsonFields fields(json, file);
  const std::string_view dimension = fields.has("embedding_dimension") ? "embedding_dimension" : "word_embedding_dimension";
  SentencePooling pooling{fields.integer(dimension, 1, kMaxFeatures), ""};
  const std::vector<std::string> modes = stated_pooling_modes(fields);
  if (modes.size() != 1) fail(ErrorCode::unsupported, "{}: pooling by {} modes at once is not supported", file, modes.size());
  const auto mode = std::find_if(kPoolingModes.begin(), kPoolingModes.end(),
                                 [&](const PoolingMode& known) { return known.name == modes[0] && !known.pool_mode.empty(); });
  if (mode == kPoolingModes.end()) fail(ErrorCode::unsupported, "{}: pooling mode '{}' is not supported", file, modes[0]);
  pooling.mode = mode->pool_mode;
  return pooling;
}

SentenceDense parse_sentence_dense(std::string_view text, const std::string& file) {
  const nlohmann::json json = parse_json(text, file);
  const JsonFields fields(json, file);
  for (const char* name : {"module_input_name", "module_output_name"}) {
    const std::string value = fields.text_or(name, "sentence_embedding");
    if (value != "sentence_embedding") fail(ErrorCode::unsupported, "{}: field '{}': '{}' is not supported", file, name, value);
  }
  if (fields.boolean_or("use_residual", false))
    fail(ErrorCode::unsupported, "{}: field 'use_residual': true is not supported", file);
  return {fields.integer("in_features", 1, kMaxFeatures), fields.integer("out_features", 1, kMaxFeatures),
          fields.boolean_or("bias", true), std::string(after_last_dot(fields.text_or("activation_function", "Tanh")))};
}

SentenceLimits parse_sentence_limits(std::string_view text, const std::string& file) {
  const nlohmann::json json = parse_json(text, file);
  const JsonFields fields(json, file);
  SentenceLimits limits;
  if (fields.has("max_seq_length")) limits.max_seq_length = fields.integer("max_seq_length", 1, JsonFields::kMax);
  limits.do_lower_case = fields.boolean_or("do_lower_case", false);
  return limits;
}

std::optional<int64_t> tokenizer_truncation(std::string_view text) {
  TruncationFinder finder;
  nlohmann::json::sax_parse(text.begin(), text.end(), &finder);
  return finder.found;
}

std::optional<int64_t> tokenizer_model_max_length(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  const auto found = json.is_object() ? json.find("model_max_length") : json.end();
  constexpr double kVeryLarge = 1e9;  // transformers writes 1e30 for "no limit"
  if (!json.is_object() || found == json.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  if (!(value >= 1 && value < kVeryLarge)) return std::nullopt;
  return static_cast<int64_t>(value);
}

}  // namespace bertie
