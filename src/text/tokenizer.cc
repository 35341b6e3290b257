#include "bertie/tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "formats/json.h"
#include "text/decoder.h"
#include "text/model_source.h"
#include "text/pipeline.h"
#include "text/post_processor.h"
#include "text/tokenizer_folder.h"

namespace bertie {

using text::Decoder;
using text::Pipeline;
using text::PostProcessor;
using text::TextTokens;

struct Tokenizer::Impl {
  std::string json;
  std::unique_ptr<const Pipeline> pipeline;
  PostProcessor post_processor;
  std::unique_ptr<const Decoder> decoder;  // may be nullptr
  std::string continuing_prefix;
  std::optional<std::string> mask_token, pad_token, unknown_token;
  std::optional<size_t> stated_max_length, model_max_length;

  Impl(std::string source, const std::string& file) : json(std::move(source)) {
    text::TokenizerSource parsed = text::parse_tokenizer_json(json, file);
    const JsonFields fields(parsed.document, file);
    if (!parsed.has_model) fail(ErrorCode::invalid_file, "{}: field 'model' is missing", file);
    if (const auto found = parsed.model.fields.find("continuing_subword_prefix");
        found != parsed.model.fields.end() && found->is_string()) {
      continuing_prefix = found->get<std::string>();
    }
    pipeline = std::make_unique<Pipeline>(parsed.document, std::move(parsed.model), file);
    if (const auto* found = fields.find("post_processor")) post_processor = PostProcessor(*found, file);
    if (const auto* found = fields.find("decoder")) decoder = text::make_decoder(*found, file);
    if (const auto* found = fields.find("truncation")) {
      const JsonFields truncation(*found, file, "truncation.");
      stated_max_length = static_cast<size_t>(truncation.integer("max_length", 0, JsonFields::kMax));
    }
    read_stated(fields);
  }

  void read_stated(const JsonFields& fields) {
    static const nlohmann::json nothing = nlohmann::json::object();
    const auto* found = fields.find(text::kFolderKey);
    const JsonFields stated(found != nullptr ? *found : nothing, fields.file(), std::string(text::kFolderKey) + ".");
    const auto known = [&](const std::string& name, std::array<const char*, 2> customary) -> std::optional<std::string> {
      if (stated.has(name)) {
        std::string token = stated.text(name);
        if (id_of(token)) return token;
      }
      for (const char* token : customary) {
        if (id_of(token)) return token;
      }
      return std::nullopt;
    };
    mask_token = known("mask_token", {"[MASK]", "<mask>"});
    pad_token = known("pad_token", {"[PAD]", "<pad>"});
    unknown_token = known("unk_token", {"[UNK]", "<unk>"});
    if (stated.has("model_max_length")) {
      model_max_length = static_cast<size_t>(stated.integer("model_max_length", 1, 1'000'000'000));
    }
  }

  std::optional<int32_t> id_of(std::string_view token) const {
    const auto added = pipeline->added().token_to_id(token);
    return added ? added : pipeline->model().token_to_id(token);
  }

  // The tokens of one or two texts, in buffers of this thread that the next call takes again.
  std::span<const TextTokens> tokenize(std::string_view first, std::optional<std::string_view> second) const {
    thread_local std::array<TextTokens, 2> texts;
    pipeline->tokenize(first, post_processor.trims_offsets(), texts[0]);
    if (second) pipeline->tokenize(*second, post_processor.trims_offsets(), texts[1]);
    return std::span<const TextTokens>(texts).first(second ? 2 : 1);
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::string& path) {
  std::string file;
  std::string json = text::read_tokenizer(path, file);
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::make_unique<Impl>(std::move(json), file)));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view json, const std::string& name) {
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::make_unique<Impl>(std::string(json), name)));
}

Encoding Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return impl_->post_processor.process(impl_->tokenize(text, std::nullopt), add_special_tokens);
}

Encoding Tokenizer::encode_pair(std::string_view first, std::string_view second, bool add_special_tokens) const {
  return impl_->post_processor.process(impl_->tokenize(first, second), add_special_tokens);
}

std::vector<Encoding> Tokenizer::encode_windows(std::string_view first, std::optional<std::string_view> second,
                                                const Truncation& truncation, bool add_special_tokens) const {
  const size_t special = add_special_tokens ? impl_->post_processor.added_tokens(second.has_value()) : 0;
  if (truncation.max_length <= special) {
    fail(ErrorCode::invalid_argument, "a maximum length of {} tokens leaves no room beside {} special tokens",
         truncation.max_length, special);
  }
  const size_t limit = truncation.max_length - special;
  if (truncation.stride >= limit) {
    fail(ErrorCode::invalid_argument, "a stride of {} tokens does not fit windows of {} tokens of the text", truncation.stride,
         limit);
  }
  const std::span<const TextTokens> texts = impl_->tokenize(first, second);
  const std::array<size_t, 2> lengths{texts[0].tokens.size(), second ? texts[1].tokens.size() : 0};
  const auto windows = text::truncate(lengths, second.has_value(), limit, truncation);
  return impl_->post_processor.process_windows(texts, windows, add_special_tokens);
}

size_t Tokenizer::vocabulary_size() const {
  return static_cast<size_t>(std::max(impl_->pipeline->model().id_limit(), impl_->pipeline->added().id_limit()));
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const { return impl_->id_of(token); }

std::string_view Tokenizer::id_to_token(int32_t id) const {
  const std::string_view added = impl_->pipeline->added().id_to_token(id);
  return added.empty() ? impl_->pipeline->model().id_to_token(id) : added;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    const std::string_view token = id_to_token(id);
    if (token.empty() || (skip_special_tokens && impl_->pipeline->added().is_special(token))) continue;
    tokens.emplace_back(token);
  }
  const bool spaced = impl_->decoder == nullptr;
  if (!spaced) impl_->decoder->apply(tokens);
  std::string result;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (spaced && i != 0) result += ' ';
    result += tokens[i];
  }
  return result;
}

std::string_view Tokenizer::continuing_subword_prefix() const { return impl_->continuing_prefix; }

std::optional<std::string> Tokenizer::mask_token() const { return impl_->mask_token; }

std::optional<int32_t> Tokenizer::mask_id() const { return impl_->mask_token ? impl_->id_of(*impl_->mask_token) : std::nullopt; }

std::optional<int32_t> Tokenizer::pad_id() const { return impl_->pad_token ? impl_->id_of(*impl_->pad_token) : std::nullopt; }

std::optional<int32_t> Tokenizer::unknown_id() const {
  if (const auto id = impl_->pipeline->model().unknown_id()) return id;
  return impl_->unknown_token ? impl_->id_of(*impl_->unknown_token) : std::nullopt;
}

std::optional<size_t> Tokenizer::stated_max_length() const { return impl_->stated_max_length; }
std::optional<size_t> Tokenizer::model_max_length() const { return impl_->model_max_length; }
const std::string& Tokenizer::json() const { return impl_->json; }

}  // namespace bertie
