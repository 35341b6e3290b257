// The factory: a tokenizer.json "model" object to one of the four models.
#include "text/model.h"

#include <limits>

#include "base/error.h"
#include "text/bpe.h"
#include "text/model_source.h"
#include "text/unigram.h"
#include "text/word_level.h"
#include "text/word_piece.h"

namespace bertie::text {

namespace {

using nlohmann::json;

// Reads the small fields of a model, each named in errors.
class Fields {
 public:
  Fields(const json& fields, const std::string& file) : fields_(fields), file_(file) {}

  bool has(const char* key) const { return fields_.contains(key); }

  std::string string(const char* key) const {
    const std::optional<std::string> value = optional_string(key);
    if (!value) fail(ErrorCode::invalid_file, "{}: model.{} is missing", file_, key);
    return *value;
  }
  // Absent and null are the same.
  std::optional<std::string> optional_string(const char* key) const {
    const json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) refuse(key, "not a string");
    return value->get<std::string>();
  }
  bool boolean(const char* key) const {
    const json* value = find(key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) refuse(key, "neither true nor false");
    return value->get<bool>();
  }
  std::optional<uint64_t> whole_number(const char* key) const {
    const json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_unsigned()) refuse(key, "not a whole number from 0");
    return value->get<uint64_t>();
  }
  double number(const char* key) const {
    const json* value = find(key);
    if (value == nullptr) return 0;
    if (!value->is_number()) refuse(key, "not a number");
    return value->get<double>();
  }
  [[noreturn]] void refuse(const char* key, const char* why) const {
    fail(ErrorCode::invalid_file, "{}: model.{} is {}", file_, key, why);
  }

 private:
  const json* find(const char* key) const {
    const auto found = fields_.find(key);
    return found == fields_.end() || found->is_null() ? nullptr : &*found;
  }

  const json& fields_;
  const std::string& file_;
};

// Early files do not name the type: the first whose fields are all there, in Hugging Face's order.
std::string guess_type(const ModelSource& source, const Fields& fields, const std::string& file) {
  using enum ModelSource::Vocabulary;
  if (source.vocabulary == ids && source.has_merges) return "BPE";
  if (source.vocabulary == ids && fields.has("unk_token")) {
    const bool word_piece = fields.has("continuing_subword_prefix") && fields.has("max_input_chars_per_word");
    return word_piece ? "WordPiece" : "WordLevel";
  }
  if (source.vocabulary == scores) return "Unigram";
  fail(ErrorCode::invalid_file, "{}: model.type is missing and its fields are those of no known model", file);
}

void require_vocabulary(const ModelSource& source, ModelSource::Vocabulary form, const std::string& file) {
  if (source.vocabulary == ModelSource::Vocabulary::absent) fail(ErrorCode::invalid_file, "{}: model.vocab is missing", file);
  if (source.vocabulary != form) {
    fail(ErrorCode::invalid_file, "{}: model.vocab is not {}", file,
         form == ModelSource::Vocabulary::ids ? "an object of pieces and ids" : "an array of pieces and scores");
  }
}

std::unique_ptr<TokenizerModel> make_word_piece(ModelSource&& source, const Fields& fields, const std::string& file) {
  WordPieceOptions options;
  options.unknown_token = fields.string("unk_token");
  options.continuation_prefix = fields.string("continuing_subword_prefix");
  const std::optional<uint64_t> limit = fields.whole_number("max_input_chars_per_word");
  if (!limit) fields.refuse("max_input_chars_per_word", "missing");
  options.max_characters = *limit;
  return std::make_unique<WordPiece>(Vocabulary(std::move(source.pieces), std::move(source.ids), file), std::move(options));
}

std::unique_ptr<TokenizerModel> make_bpe(ModelSource&& source, const Fields& fields, const std::string& file) {
  if (!source.has_merges) fail(ErrorCode::invalid_file, "{}: model.merges is missing", file);
  if (fields.number("dropout") != 0) {
    fail(ErrorCode::unsupported, "{}: model.dropout is not 0: a tokenizer whose tokens change from call to call", file);
  }
  BpeOptions options;
  options.unknown_token = fields.optional_string("unk_token");
  options.continuation_prefix = fields.optional_string("continuing_subword_prefix").value_or("");
  options.word_suffix = fields.optional_string("end_of_word_suffix").value_or("");
  options.fuse_unknown = fields.boolean("fuse_unk");
  options.byte_fallback = fields.boolean("byte_fallback");
  options.ignore_merges = fields.boolean("ignore_merges");
  return std::make_unique<Bpe>(Vocabulary(std::move(source.pieces), std::move(source.ids), file), source.merges,
                               std::move(options), file);
}

std::unique_ptr<TokenizerModel> make_unigram(ModelSource&& source, const Fields& fields, const std::string& file) {
  UnigramOptions options;
  if (const std::optional<uint64_t> id = fields.whole_number("unk_id")) {
    if (*id >= static_cast<uint64_t>(kTokenIdLimit)) fields.refuse("unk_id", "larger than any id");
    options.unknown_id = static_cast<int32_t>(*id);
  }
  options.byte_fallback = fields.boolean("byte_fallback");
  return std::make_unique<Unigram>(Vocabulary(std::move(source.pieces)), std::move(source.scores), options, file);
}

}  // namespace

std::unique_ptr<TokenizerModel> make_model(ModelSource source, const std::string& file) {
  using enum ModelSource::Vocabulary;
  const json small_fields = std::move(source.fields);
  const Fields fields(small_fields, file);
  const std::string type = fields.has("type") ? fields.string("type") : guess_type(source, fields, file);
  if (type == "Unigram") {
    require_vocabulary(source, scores, file);
    return make_unigram(std::move(source), fields, file);
  }
  if (type == "WordPiece" || type == "BPE" || type == "WordLevel") {
    require_vocabulary(source, ids, file);
    if (type == "WordPiece") return make_word_piece(std::move(source), fields, file);
    if (type == "BPE") return make_bpe(std::move(source), fields, file);
    return std::make_unique<WordLevel>(Vocabulary(std::move(source.pieces), std::move(source.ids), file),
                                       fields.string("unk_token"));
  }
  fail(ErrorCode::unsupported, "{}: model.type is \"{}\"; known are WordPiece, BPE, Unigram and WordLevel", file, type);
}

std::unique_ptr<TokenizerModel> make_model(const json& model, const std::string& file) {
  return make_model(parse_model_json(model.dump(), file), file);
}

}  // namespace bertie::text
