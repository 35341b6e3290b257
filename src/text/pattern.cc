#include "text/pattern.h"

#include <oniguruma.h>

#include <mutex>

#include "base/error.h"
#include "text/unicode.h"

namespace bertie::text {

struct Pattern::Regex {
  regex_t* handle = nullptr;
  std::string source;

  explicit Regex(std::string pattern, const JsonFields& fields) : source(std::move(pattern)) {
    static std::once_flag initialised;
    std::call_once(initialised, [] {
      OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
      onig_initialize(encodings, 1);
    });
    const auto* begin = reinterpret_cast<const OnigUChar*>(source.data());
    OnigErrorInfo info{};
    const int status =
        onig_new(&handle, begin, begin + source.size(), ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
    if (status == ONIG_NORMAL) return;
    OnigUChar message[ONIG_MAX_ERROR_MESSAGE_LEN + 1];
    const int length = onig_error_code_to_str(message, status, &info);
    fields.refuse("pattern", fmt::format("a regular expression that can be used ({})",
                                         std::string_view(reinterpret_cast<char*>(message), static_cast<size_t>(length))));
  }
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  ~Regex() { onig_free(handle); }
};

namespace {

// What a thread needs to search.
struct Search {
  OnigRegion* region = onig_region_new();
  OnigMatchParam* limits = onig_new_match_param();

  Search() {
    onig_initialize_match_param(limits);
    onig_set_retry_limit_in_match_of_match_param(limits, kMaxRetries);
    onig_set_match_stack_limit_size_of_match_param(limits, kMaxStack);
  }
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;
  ~Search() {
    onig_region_free(region, 1);
    onig_free_match_param(limits);
  }

  // Longer texts may take more steps in all, so that the time stays linear.
  void begin(size_t text_size) { onig_set_retry_limit_in_search_of_match_param(limits, kMaxRetries + 16 * text_size); }

 private:
  static constexpr unsigned long kMaxRetries = 10'000'000;  // Oniguruma's own default for one match
  static constexpr unsigned int kMaxStack = 10'000'000;     // entries
};

}  // namespace

Pattern Pattern::parse(const JsonFields& fields) {
  const nlohmann::json* pattern = fields.find("pattern");
  if (pattern == nullptr || !pattern->is_object() || pattern->size() != 1 || !pattern->front().is_string()) {
    fields.refuse("pattern", R"({"String": text} or {"Regex": text})");
  }
  const std::string kind = pattern->begin().key();
  auto source = pattern->front().get<std::string>();
  Pattern result;
  if (kind == "String" && !source.empty()) {
    result.literal_ = std::move(source);
  } else if (kind == "Regex" || kind == "String") {
    result.regex_ = std::make_shared<Regex>(std::move(source), fields);
  } else {
    fields.refuse("pattern", R"({"String": text} or {"Regex": text})");
  }
  return result;
}

void Pattern::for_each_match(std::string_view text, const Visit& visit) const {
  if (text.empty()) return;  // as Hugging Face has it, even where the expression matches nothing
  if (regex_ == nullptr) {
    for (size_t at = text.find(literal_); at != text.npos; at = text.find(literal_, at + literal_.size())) {
      visit(at, at + literal_.size());
    }
    return;
  }
  thread_local Search search;
  search.begin(text.size());
  const auto* begin = reinterpret_cast<const OnigUChar*>(text.data());
  const auto* end = begin + text.size();
  size_t from = 0;
  size_t last_match = text.npos;  // where the last match ended
  while (from <= text.size()) {
    onig_region_clear(search.region);
    const int status =
        onig_search_with_param(regex_->handle, begin, end, begin + from, end, search.region, ONIG_OPTION_NONE, search.limits);
    if (status == ONIG_MISMATCH) return;
    if (status < 0) {
      fail(ErrorCode::invalid_text, "the tokenizer's expression '{}' gave up on this text (Oniguruma error {})", regex_->source,
           status);
    }
    const auto first = static_cast<size_t>(search.region->beg[0]), last = static_cast<size_t>(search.region->end[0]);
    if (first == last && last == last_match) {  // an empty match right after a match does not count
      from += from < text.size() ? utf8_length(text[from]) : 1;
      continue;
    }
    from = last_match = last;
    visit(first, last);
  }
}

}  // namespace bertie::text
