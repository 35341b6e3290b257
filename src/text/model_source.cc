#include "text/model_source.h"

#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace bertie::text {

namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 64;

// Builds a json document from the parser's events, except for model.vocab and model.merges, which go to flat arrays.
class Reader final : public nlohmann::json_sax<json> {
 public:
  Reader(TokenizerSource& source, const std::string& file, bool model_alone)
      : source_(source), file_(file), model_alone_(model_alone) {}

  bool null() override { return value(nullptr, "null"); }
  bool boolean(bool v) override { return value(v, "a boolean"); }
  bool number_integer(number_integer_t v) override {
    if (part_ == Part::ids) bad_id(std::to_string(v));
    if (part_ == Part::scores && add_score(static_cast<double>(v))) return true;
    return value(v, "a number");
  }
  bool number_unsigned(number_unsigned_t v) override {
    if (part_ == Part::ids) {
      if (v >= static_cast<uint64_t>(kTokenIdLimit)) bad_id(std::to_string(v));
      source_.model.ids.push_back(static_cast<int32_t>(v));
      return true;
    }
    if (part_ == Part::scores && add_score(static_cast<double>(v))) return true;
    return value(v, "a number");
  }
  bool number_float(number_float_t v, const string_t& text) override {
    if (part_ == Part::ids) bad_id(text);
    if (part_ == Part::scores && add_score(parse_score(text))) return true;
    return value(v, "a number");
  }
  bool string(string_t& v) override {
    switch (part_) {
      case Part::scores:
        if (depth_in_part_ != 2 || filled_ != 0) bad_part("a string");
        source_.model.pieces.add(v);
        filled_ = 1;
        return true;
      case Part::merges: add_merge(v); return true;
      default: return value(std::move(v), "a string");
    }
  }
  bool binary(binary_t&) override { return false; }

  bool key(string_t& v) override {
    if (part_ == Part::ids) {
      source_.model.pieces.add(v);
      if (source_.model.pieces.size() > static_cast<size_t>(kTokenIdLimit)) too_many("vocab");
    } else {
      key_ = v;
    }
    return true;
  }

  bool start_object(size_t) override {
    if (part_ != Part::none) bad_part("an object");
    if (in_model() && key_ == "vocab") {
      clear_vocabulary(ModelSource::Vocabulary::ids);
      part_ = Part::ids;
      return true;
    }
    if (stack_.empty() && model_alone_) return open_model();
    if (stack_.size() == 1 && !model_alone_ && key_ == "model" && source_.document.is_object()) return open_model();
    return open(json::object());
  }
  bool end_object() override {
    if (part_ == Part::ids) {
      part_ = Part::none;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  bool start_array(size_t) override {
    if (part_ == Part::none) {
      if (in_model() && key_ == "vocab") {
        clear_vocabulary(ModelSource::Vocabulary::scores);
        part_ = Part::scores;
      } else if (in_model() && key_ == "merges") {
        source_.model.merges.clear();
        source_.model.has_merges = true;
        merges_are_pairs_ = merges_are_strings_ = false;
        part_ = Part::merges;
      } else {
        return open(json::array());
      }
      depth_in_part_ = 1;
      return true;
    }
    if (part_ == Part::ids || depth_in_part_ != 1) bad_part("an array");
    if (part_ == Part::merges) merges_are_pairs_ = true;
    depth_in_part_ = 2;
    filled_ = 0;
    return true;
  }
  bool end_array() override {
    if (part_ == Part::none) {
      stack_.pop_back();
      return true;
    }
    if (depth_in_part_ == 2 && filled_ != 2) bad_part("an entry that is not a pair");
    if (--depth_in_part_ == 0) part_ = Part::none;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    fail(ErrorCode::invalid_file, "{}: not valid JSON at byte {}: {}", file_, position, error.what());
  }

 private:
  enum class Part { none, ids, scores, merges };

  bool in_model() const { return stack_.size() == model_depth() && stack_.back() == &source_.model.fields; }
  size_t model_depth() const { return model_alone_ ? 1 : 2; }

  bool open_model() {
    source_.model = {};
    source_.has_model = true;
    stack_.push_back(&source_.model.fields);
    return true;
  }
  bool open(json&& container) {
    if (stack_.size() >= kMaxDepth) fail(ErrorCode::invalid_file, "{}: nested deeper than {} levels", file_, kMaxDepth);
    stack_.push_back(place(std::move(container)));
    return true;
  }
  template <typename T>
  bool value(T&& v, const char* what) {
    if (part_ != Part::none) bad_part(what);
    if (in_model() && key_ == "vocab") fail(ErrorCode::invalid_file, "{}: model.vocab is {}", file_, what);
    if (in_model() && key_ == "merges") fail(ErrorCode::invalid_file, "{}: model.merges is {}", file_, what);
    place(json(std::forward<T>(v)));
    return true;
  }
  json* place(json&& v) {
    if (stack_.empty()) {
      json& root = model_alone_ ? source_.model.fields : source_.document;
      root = std::move(v);
      return &root;
    }
    json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    return &(parent[key_] = std::move(v));
  }

  void clear_vocabulary(ModelSource::Vocabulary form) {
    source_.model.vocabulary = form;
    source_.model.pieces.clear();
    source_.model.ids.clear();
    source_.model.scores.clear();
  }
  bool add_score(double score) {
    if (depth_in_part_ != 2 || filled_ != 1) return false;
    source_.model.scores.push_back(score);
    if (source_.model.scores.size() > static_cast<size_t>(kTokenIdLimit)) too_many("vocab");
    filled_ = 2;
    return true;
  }
  void add_merge(const std::string& text) {
    StringPool& merges = source_.model.merges;
    if (depth_in_part_ == 2) {
      if (++filled_ > 2) bad_part("an entry of more than two strings");
      merges.add(text);
    } else {
      merges_are_strings_ = true;
      if (text.starts_with("#version")) return;
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        fail(ErrorCode::invalid_file, "{}: model.merges[{}] is \"{}\", not two pieces with a space between", file_,
             merges.size() / 2, text);
      }
      merges.add(std::string_view(text).substr(0, space));
      merges.add(std::string_view(text).substr(space + 1));
    }
    if (merges_are_pairs_ && merges_are_strings_) bad_part("a mixture of strings and pairs");
    if (merges.size() > 2 * static_cast<size_t>(kTokenIdLimit)) too_many("merges");
  }

  [[noreturn]] void bad_id(const std::string& number) const {
    const StringPool& pieces = source_.model.pieces;
    fail(ErrorCode::invalid_file, "{}: model.vocab gives \"{}\" the id {}, not a whole number from 0 to {}", file_,
         pieces[pieces.size() - 1], number, kTokenIdLimit - 1);
  }
  [[noreturn]] void bad_part(const char* what) const {
    const ModelSource& model = source_.model;
    switch (part_) {
      case Part::ids:
        fail(ErrorCode::invalid_file, "{}: model.vocab holds {} for \"{}\", not a whole number", file_, what,
             model.pieces[model.pieces.size() - 1]);
      case Part::scores:
        fail(ErrorCode::invalid_file, "{}: model.vocab[{}] holds {}, not a piece and its score", file_, model.scores.size(),
             what);
      default:
        fail(ErrorCode::invalid_file, "{}: model.merges[{}] holds {}, not two pieces", file_, model.merges.size() / 2, what);
    }
  }
  [[noreturn]] void too_many(const char* field) const {
    fail(ErrorCode::invalid_file, "{}: model.{} has more than {} entries", file_, field, kTokenIdLimit);
  }

  TokenizerSource& source_;
  const std::string& file_;
  const bool model_alone_;
  std::vector<json*> stack_;  // the open containers; each stays in place while one below it grows
  std::string key_;
  Part part_ = Part::none;
  int depth_in_part_ = 0;  // brackets open inside vocab or merges
  int filled_ = 0;         // elements so far of the pair that is open
  bool merges_are_pairs_ = false, merges_are_strings_ = false;
};

TokenizerSource parse(std::string_view text, const std::string& file, bool model_alone) {
  TokenizerSource source;
  Reader reader(source, file, model_alone);
  json::sax_parse(text, &reader);
  return source;
}

}  // namespace

TokenizerSource parse_tokenizer_json(std::string_view text, const std::string& file) { return parse(text, file, false); }

ModelSource parse_model_json(std::string_view text, const std::string& file) {
  TokenizerSource source = parse(text, file, true);
  if (!source.has_model) fail(ErrorCode::invalid_file, "{}: model is not an object", file);
  return std::move(source.model);
}

double parse_score(std::string_view text) {
  static const std::array<double, 309> kPowers = [] {
    std::array<double, 309> powers{};
    for (size_t i = 0; i < powers.size(); ++i) powers[i] = std::stod("1e" + std::to_string(i));
    return powers;
  }();
  size_t at = 0;
  const auto is_digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) ++at;

  uint64_t significand = 0;
  int64_t exponent = 0;
  bool full = false;  // further digits are dropped, not rounded
  const auto take = [&](int64_t when_taken, int64_t when_dropped) {
    const auto digit = static_cast<uint64_t>(text[at++] - '0');
    constexpr uint64_t kMost = ~uint64_t{0};
    full = full || significand > kMost / 10 || (significand == kMost / 10 && digit > kMost % 10);
    if (!full) significand = significand * 10 + digit;
    exponent += full ? when_dropped : when_taken;
  };
  while (is_digit()) take(0, 1);
  // The decimal point is the C locale's when the text comes from nlohmann's lexer.
  if (at < text.size() && text[at] != 'e' && text[at] != 'E') {
    ++at;
    while (is_digit()) take(-1, 0);
  }
  if (at < text.size()) {
    ++at;
    const bool minus = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    int64_t written = 0;
    while (is_digit()) written = std::min<int64_t>(written * 10 + (text[at++] - '0'), 1 << 30);
    exponent += minus ? -written : written;
  }

  auto result = static_cast<double>(significand);
  while (result != 0) {
    const auto power = static_cast<uint64_t>(std::abs(exponent));
    if (power < kPowers.size()) {
      result = exponent >= 0 ? result * kPowers[power] : result / kPowers[power];
      break;
    }
    if (exponent > 0) {
      result = HUGE_VAL;
      break;
    }
    result /= 1e308;
    exponent += 308;
  }
  return negative ? -result : result;
}

}  // namespace bertie::text
