#include "text/tokenizer_folder.h"

#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json.h"
#include "text/unicode.h"

namespace bertie::text {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The small files beside a tokenizer.
struct FolderConfig {
  json tokenizer = json::object();  // tokenizer_config.json
  json special = json::object();    // special_tokens_map.json
  std::string file;                 // of tokenizer_config.json, for errors

  explicit FolderConfig(const fs::path& folder) : file((folder / "tokenizer_config.json").string()) {
    if (fs::exists(file)) tokenizer = read_json_file(file);
    if (const fs::path map = folder / "special_tokens_map.json"; fs::exists(map)) special = read_json_file(map.string());
    if (!tokenizer.is_object()) tokenizer = json::object();
    if (!special.is_object()) special = json::object();
  }

  // "mask_token" and its like: a string, or an object with "content".
  std::optional<std::string> token(const char* name) const {
    for (const json* source : {&tokenizer, &special}) {
      const auto found = source->find(name);
      if (found == source->end()) continue;
      if (found->is_string()) return found->get<std::string>();
      if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
        return (*found)["content"].get<std::string>();
      }
    }
    return std::nullopt;
  }
  std::string token_or(const char* name, const char* fallback) const { return token(name).value_or(fallback); }

  json stated() const {
    json result = json::object();
    for (const char* name : {"mask_token", "pad_token", "unk_token"}) {
      if (const auto value = token(name)) result[name] = *value;
    }
    const auto length = tokenizer.find("model_max_length");
    // Where there is no limit, Hugging Face writes a huge number.
    if (length != tokenizer.end() && length->is_number() && length->get<double>() >= 1 && length->get<double>() < 1e9) {
      result["model_max_length"] = static_cast<int64_t>(length->get<double>());
    }
    return result;
  }
};

json added_token(const std::string& content, bool special, bool lstrip, bool normalized) {
  return {{"content", content}, {"special", special},   {"lstrip", lstrip},
          {"rstrip", false},    {"single_word", false}, {"normalized", normalized}};
}

// The tokens of tokenizer_config.json's "added_tokens_decoder" by id, else `special` ones.
json added_tokens(const FolderConfig& config, const std::vector<json>& special) {
  const auto decoder = config.tokenizer.find("added_tokens_decoder");
  if (decoder == config.tokenizer.end() || !decoder->is_object() || decoder->empty()) return special;
  std::map<long, json> by_id;
  for (const auto& [id, token] : decoder->items()) {
    if (id.empty() || id.size() > 9 || id.find_first_not_of("0123456789") != id.npos || !token.is_object()) {
      fail(ErrorCode::invalid_file, "{}: field 'added_tokens_decoder' must map ids to tokens", config.file);
    }
    by_id[std::stol(id)] = token;
  }
  json list = json::array();
  for (auto& [id, token] : by_id) list.push_back(std::move(token));
  return list;
}

int32_t require_id(const json& vocabulary, const std::string& token, const std::string& file) {
  const auto found = vocabulary.find(token);
  if (found == vocabulary.end() || !found->is_number_integer()) {
    fail(ErrorCode::invalid_file, "{}: the vocabulary lacks the token '{}'", file, token);
  }
  return found->get<int32_t>();
}

json sequence(const char* id, int type_id) { return {{"Sequence", {{"id", id}, {"type_id", type_id}}}}; }
json special_piece(const std::string& token, int type_id) { return {{"SpecialToken", {{"id", token}, {"type_id", type_id}}}}; }

std::vector<std::string> read_lines(const std::string& file) {
  const std::string text = read_text_file(file);
  if (const size_t at = find_invalid_utf8(text); at != kInvalidNone) {
    fail(ErrorCode::invalid_file, "{}: not valid UTF-8 at byte {}", file, at);
  }
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    size_t stop = end;
    if (stop > begin && text[stop - 1] == '\r') --stop;
    lines.push_back(text.substr(begin, stop - begin));
    begin = end + 1;
  }
  return lines;
}

// As transformers converts a BertTokenizer or MPNetTokenizer.
json from_vocab_txt(const fs::path& folder, const std::string& file) {
  const FolderConfig config(folder);
  json vocabulary = json::object();
  int32_t id = 0;
  for (const std::string& line : read_lines(file)) vocabulary[line] = id++;

  const JsonFields fields(config.tokenizer, config.file);
  const bool mpnet = fields.text_or("tokenizer_class", "").starts_with("MPNet");
  const std::string cls = config.token_or("cls_token", mpnet ? "<s>" : "[CLS]");
  const std::string sep = config.token_or("sep_token", mpnet ? "</s>" : "[SEP]");
  const std::string unk = config.token_or("unk_token", "[UNK]");
  const std::string pad = config.token_or("pad_token", mpnet ? "<pad>" : "[PAD]");
  const std::string mask = config.token_or("mask_token", mpnet ? "<mask>" : "[MASK]");
  require_id(vocabulary, unk, file);

  std::vector<json> special;
  for (const std::string& token : {pad, unk, cls, sep, mask}) {
    if (vocabulary.contains(token)) special.push_back(added_token(token, true, mpnet && token == mask, false));
  }
  const bool lowercase = fields.boolean_or("do_lower_case", true);
  json normalizer = {{"type", "BertNormalizer"},
                     {"clean_text", true},
                     {"handle_chinese_chars", fields.boolean_or("tokenize_chinese_chars", true)},
                     {"strip_accents", fields.boolean_or("strip_accents", lowercase)},
                     {"lowercase", lowercase}};
  json pair = {special_piece(cls, 0), sequence("A", 0), special_piece(sep, 0)};
  json single = pair;
  if (mpnet) pair.push_back(special_piece(sep, 0));
  pair.push_back(sequence("B", 1));
  pair.push_back(special_piece(sep, 1));
  json tokens = json::object();
  for (const std::string& token : {cls, sep}) {
    tokens[token] = {{"id", token}, {"ids", {require_id(vocabulary, token, file)}}, {"tokens", {token}}};
  }
  return {{"version", "1.0"},
          {"added_tokens", added_tokens(config, special)},
          {"normalizer", std::move(normalizer)},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor", {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}}},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", unk},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", std::move(vocabulary)}}}};
}

// As transformers converts a RobertaTokenizer.
json from_vocab_json(const fs::path& folder, const std::string& file) {
  const FolderConfig config(folder);
  json vocabulary = read_json_file(file);
  if (!vocabulary.is_object()) fail(ErrorCode::invalid_file, "{}: must map tokens to ids", file);
  json merges = json::array();
  for (std::string& line : read_lines((folder / "merges.txt").string())) {
    if (!line.empty() && !(merges.empty() && line.starts_with("#version"))) merges.push_back(std::move(line));
  }
  const JsonFields fields(config.tokenizer, config.file);
  const std::string cls = config.token_or("cls_token", "<s>"), sep = config.token_or("sep_token", "</s>");
  const std::string mask = config.token_or("mask_token", "<mask>");
  std::vector<json> special;
  for (const std::string& token :
       {cls, config.token_or("pad_token", "<pad>"), sep, config.token_or("unk_token", "<unk>"), mask}) {
    if (vocabulary.contains(token)) special.push_back(added_token(token, true, token == mask, false));
  }
  const bool prefix = fields.boolean_or("add_prefix_space", false);
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"trim_offsets", true}, {"use_regex", true}};
  return {{"version", "1.0"},
          {"added_tokens", added_tokens(config, special)},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor",
           {{"type", "RobertaProcessing"},
            {"sep", {sep, require_id(vocabulary, sep, file)}},
            {"cls", {cls, require_id(vocabulary, cls, file)}},
            {"trim_offsets", true},
            {"add_prefix_space", prefix}}},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"vocab", std::move(vocabulary)},
            {"merges", std::move(merges)}}}};
}

// Puts what the folder states before the other fields of a JSON object's text.
std::string with_stated(std::string text, const json& stated) {
  const size_t brace = text.find_first_not_of(" \t\r\n");
  if (stated.empty() || brace == text.npos || text[brace] != '{') return text;
  const size_t next = text.find_first_not_of(" \t\r\n", brace + 1);
  const bool empty = next == text.npos || text[next] == '}';
  return text.insert(brace + 1, fmt::format("\"{}\": {}{}", kFolderKey, stated.dump(), empty ? "" : ", "));
}

}  // namespace

std::string read_tokenizer(const std::string& path, std::string& file) {
  const fs::path folder(path);
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    file = path;
    return read_text_file(path);
  }
  const FolderConfig config(folder);
  const auto exists = [&](const char* name) {
    file = (folder / name).string();
    return fs::exists(file, ignored);
  };
  if (exists("tokenizer.json")) return with_stated(read_text_file(file), config.stated());
  if (exists("vocab.txt")) return with_stated(from_vocab_txt(folder, file).dump(), config.stated());
  if (exists("vocab.json") && fs::exists(folder / "merges.txt", ignored)) {
    return with_stated(from_vocab_json(folder, file).dump(), config.stated());
  }
  fail(ErrorCode::not_found, "{}: holds no tokenizer (tokenizer.json, vocab.txt, or vocab.json and merges.txt)", path);
}

}  // namespace bertie::text
