#include "text/post_processor.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/normalizer.h"

namespace bertie::text {

namespace {

constexpr int64_t kMaxId = std::numeric_limits<int32_t>::max();

// ["[SEP]", 102]
int32_t parse_pair_id(const JsonFields& fields, const char* name) {
  const nlohmann::json* pair = fields.find(name);
  if (pair == nullptr || !pair->is_array() || pair->size() != 2 || !(*pair)[1].is_number_unsigned() ||
      (*pair)[1].get<uint64_t>() > static_cast<uint64_t>(kMaxId)) {
    fields.refuse(name, "a list of a token and its id");
  }
  return (*pair)[1].get<int32_t>();
}

size_t count_special(const auto& steps) {
  size_t count = 0;
  for (const auto& step : steps) count += step.ids.size();
  return count;
}

}  // namespace

PostProcessor::PostProcessor() {
  plain_templates_ = {std::vector<Step>{{0, 0, {}}}, std::vector<Step>{{0, 0, {}}, {1, 1, {}}}};
  templates_ = plain_templates_;
}

PostProcessor::PostProcessor(const nlohmann::json& json, const std::string& file) : PostProcessor() { parse(json, file, 0); }

void PostProcessor::parse(const nlohmann::json& json, const std::string& file, int nesting) {
  const JsonFields fields(json, file, "post_processor.");
  const std::string type = fields.text("type");
  if (type == "TemplateProcessing") {
    parse_template(fields);
  } else if (type == "BertProcessing") {
    const int32_t cls = parse_pair_id(fields, "cls"), sep = parse_pair_id(fields, "sep");
    set_templates(fields, {{-1, 0, {cls}}, {0, 0, {}}, {-1, 0, {sep}}},
                  {{-1, 0, {cls}}, {0, 0, {}}, {-1, 0, {sep}}, {1, 1, {}}, {-1, 1, {sep}}});
  } else if (type == "RobertaProcessing") {
    const int32_t cls = parse_pair_id(fields, "cls"), sep = parse_pair_id(fields, "sep");
    set_templates(fields, {{-1, 0, {cls}}, {0, 0, {}}, {-1, 0, {sep}}},
                  {{-1, 0, {cls}}, {0, 0, {}}, {-1, 0, {sep, sep}}, {1, 0, {}}, {-1, 0, {sep}}});
    roberta_ = true;
    if (fields.boolean_or("trim_offsets", true)) trims_.push_back(fields.boolean_or("add_prefix_space", true));
  } else if (type == "ByteLevel") {
    if (fields.boolean_or("trim_offsets", true)) trims_.push_back(fields.boolean_or("add_prefix_space", true));
  } else if (type == "Sequence") {
    const nlohmann::json* list = fields.find("processors");
    if (list == nullptr || !list->is_array()) fields.refuse("processors", "a list");
    if (nesting >= kMaxNesting) fields.refuse("processors", fmt::format("nested at most {} deep", kMaxNesting));
    for (const auto& item : *list) parse(item, file, nesting + 1);
  } else {
    fail(ErrorCode::unsupported, "{}: post-processor type '{}' is not supported", file, type);
  }
}

void PostProcessor::parse_template(const JsonFields& fields) {
  set_templates(fields, parse_steps(fields, "single", 1), parse_steps(fields, "pair", 2));
}

std::vector<PostProcessor::Step> PostProcessor::parse_steps(const JsonFields& fields, const char* name, int texts) const {
  const nlohmann::json* list = fields.find(name);
  const nlohmann::json* tokens = fields.find("special_tokens");
  if (list == nullptr || !list->is_array()) fields.refuse(name, "a list");
  std::vector<Step> steps;
  for (const auto& item : *list) {
    if (!item.is_object() || item.size() != 1) fields.refuse(name, "a list of Sequence and SpecialToken");
    const std::string kind = item.begin().key();
    const JsonFields part(item.front(), fields.file(), fmt::format("post_processor.{}.{}.", name, kind));
    Step step;
    step.type_id = static_cast<int32_t>(part.integer("type_id", 0, kMaxId));
    const std::string id = part.text("id");
    if (kind == "Sequence") {
      if (id != "A" && (id != "B" || texts == 1)) part.refuse("id", texts == 1 ? "A" : "A or B");
      step.text = id == "A" ? 0 : 1;
    } else if (kind == "SpecialToken") {
      const auto found = tokens != nullptr && tokens->is_object() ? tokens->find(id) : nlohmann::json::const_iterator();
      if (tokens == nullptr || !tokens->is_object() || found == tokens->end()) {
        part.refuse("id", fmt::format("one of post_processor.special_tokens, not '{}'", id));
      }
      const JsonFields token(*found, fields.file(), "post_processor.special_tokens.");
      const nlohmann::json* ids = token.find("ids");
      if (ids == nullptr || !ids->is_array()) token.refuse("ids", "a list of ids");
      for (const auto& value : *ids) {
        if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(kMaxId))
          token.refuse("ids", "a list of ids");
        step.ids.push_back(value.get<int32_t>());
      }
    } else {
      fields.refuse(name, "a list of Sequence and SpecialToken");
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

void PostProcessor::set_templates(const JsonFields& fields, std::vector<Step> single, std::vector<Step> pair) {
  if (has_template_)
    fail(ErrorCode::unsupported, "{}: more than one post-processor with special tokens is not supported", fields.file());
  has_template_ = true;
  templates_ = {std::move(single), std::move(pair)};
  for (size_t i = 0; i < templates_.size(); ++i) {
    plain_templates_[i].clear();
    for (const Step& step : templates_[i]) {
      if (step.text >= 0) plain_templates_[i].push_back(step);
    }
  }
}

size_t PostProcessor::added_tokens(bool pair) const { return count_special(templates_[pair ? 1 : 0]); }

void PostProcessor::trim(Spaces spaces, size_t index, std::pair<uint32_t, uint32_t>& offsets) const {
  for (const bool add_prefix_space : trims_) {
    uint32_t leading = spaces.leading;
    // A single space before the first word was put in, not found.
    if ((index == 0 || offsets.first == 0) && add_prefix_space && leading == 1) leading = 0;
    offsets.first = std::min(offsets.first + leading, offsets.second);
    if (offsets.second >= spaces.trailing) offsets.second = std::max(offsets.second - spaces.trailing, offsets.first);
  }
}

void PostProcessor::append_text(const TextTokens& text, TokenRange range, int32_t index, int32_t type_id, Encoding& out) const {
  const size_t begin = out.ids.size(), count = range.end - range.begin;
  out.ids.resize(begin + count);
  out.offsets.resize(begin + count);
  out.word_ids.resize(begin + count);
  out.type_ids.resize(begin + count, type_id);
  out.sequence_ids.resize(begin + count, index);
  out.special_tokens_mask.resize(begin + count, 0);
  const TextToken* tokens = text.tokens.data() + range.begin;
  for (size_t i = 0; i < count; ++i) {
    out.ids[begin + i] = tokens[i].id;
    out.offsets[begin + i] = {tokens[i].begin, tokens[i].end};
    out.word_ids[begin + i] = static_cast<int32_t>(tokens[i].word);
  }
  for (size_t i = 0; i < count && trims_offsets(); ++i) trim(text.spaces[range.begin + i], i, out.offsets[begin + i]);
}

namespace {

void reserve(Encoding& out, size_t count) {
  out.ids.reserve(count);
  out.type_ids.reserve(count);
  out.offsets.reserve(count);
  out.sequence_ids.reserve(count);
  out.word_ids.reserve(count);
  out.special_tokens_mask.reserve(count);
}

void append_special(const std::vector<int32_t>& ids, int32_t type_id, Encoding& out) {
  for (const int32_t id : ids) {
    out.ids.push_back(id);
    out.type_ids.push_back(type_id);
    out.offsets.emplace_back(0, 0);
    out.sequence_ids.push_back(-1);
    out.word_ids.push_back(-1);
    out.special_tokens_mask.push_back(1);
  }
}

}  // namespace

Encoding PostProcessor::process(std::span<const TextTokens> texts, bool add_special_tokens) const {
  const auto& steps = (add_special_tokens ? templates_ : plain_templates_)[texts.size() - 1];
  Encoding result;
  size_t count = 0;
  for (const Step& step : steps) count += step.text < 0 ? step.ids.size() : texts[static_cast<size_t>(step.text)].tokens.size();
  reserve(result, count);
  for (const Step& step : steps) {
    if (step.text < 0) {
      append_special(step.ids, step.type_id, result);
    } else {
      const TextTokens& text = texts[static_cast<size_t>(step.text)];
      append_text(text, {0, text.tokens.size()}, step.text, step.type_id, result);
    }
  }
  return result;
}

std::vector<Encoding> PostProcessor::process_windows(std::span<const TextTokens> texts, const std::array<Windows, 2>& windows,
                                                     bool add_special_tokens) const {
  const auto& steps = (add_special_tokens ? templates_ : plain_templates_)[texts.size() - 1];
  // Hugging Face merges step after step: all windows so far with all of the next text's.
  constexpr size_t kMaxWindows = 1 << 20;
  std::vector<Choice> choices{{}};
  for (const Step& step : steps) {
    const size_t options = step.text < 0 ? 1 : windows[static_cast<size_t>(step.text)].size();
    if (choices.size() > kMaxWindows / options) {
      fail(ErrorCode::limit_exceeded, "the two texts make more than {} pairs of windows", kMaxWindows);
    }
    std::vector<Choice> next;
    next.reserve(choices.size() * options);
    const auto extend = [&](const Choice& choice, size_t option) {
      next.push_back(choice);
      next.back().push_back(static_cast<uint32_t>(option));
    };
    extend(choices[0], 0);
    for (size_t i = 1; i < choices.size(); ++i) {
      for (size_t option = 0; option < options; ++option) extend(choices[i], option);
    }
    for (size_t option = 1; option < options; ++option) extend(choices[0], option);
    choices = std::move(next);
  }
  std::vector<Encoding> result;
  result.reserve(choices.size());
  for (const Choice& choice : choices) {
    Encoding& encoding = result.emplace_back();
    for (size_t i = 0; i < steps.size(); ++i) {
      const Step& step = steps[i];
      if (step.text < 0) {
        append_special(step.ids, step.type_id, encoding);
        continue;
      }
      // Hugging Face gives the template's type ids to the first window only.
      const int32_t overflow_type = roberta_ && add_special_tokens ? 0 : step.text;
      const auto text = static_cast<size_t>(step.text);
      append_text(texts[text], windows[text][choice[i]], step.text, choice[i] == 0 ? step.type_id : overflow_type, encoding);
    }
  }
  return result;
}

}  // namespace bertie::text
