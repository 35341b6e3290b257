// Tokenises what it reads and writes all of each encoding, for tests/parity/tokenizer_parity.py and bench/tokenizer_speed.py.
//
// tokenize_dump TOKENIZER          reads one JSON request a line, writes one JSON answer a line
//   {"text", "pair"?, "special"?: true, "truncation"?: {"max_length", "stride", "strategy"}}
//     -> {"encodings": [[ids, type ids, offsets, sequence ids, word ids, special mask], ...]} or {"error"}
//   {"decode": [ids], "skip": true}  -> {"text"}
//   {"tokens": [ids]}                -> {"tokens"}
// tokenize_dump TOKENIZER --time   reads {"texts": [...]} lines; tokenises all texts and writes {"seconds", "tokens"}
#include <time.h>

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "bertie/tokenizer.h"

namespace {

using bertie::Encoding;
using nlohmann::json;

json to_json(const Encoding& encoding) {
  json mask = json::array();
  for (const uint8_t value : encoding.special_tokens_mask) mask.push_back(static_cast<int>(value));
  return json::array({encoding.ids, encoding.type_ids, encoding.offsets, encoding.sequence_ids, encoding.word_ids, mask});
}

bertie::Truncation parse_truncation(const json& request) {
  bertie::Truncation truncation;
  truncation.max_length = request.at("max_length").get<size_t>();
  truncation.stride = request.at("stride").get<size_t>();
  const std::string strategy = request.at("strategy").get<std::string>();
  using Strategy = bertie::TruncationStrategy;
  truncation.strategy = strategy == "only_first"    ? Strategy::only_first
                        : strategy == "only_second" ? Strategy::only_second
                                                    : Strategy::longest_first;
  return truncation;
}

json answer(const bertie::Tokenizer& tokenizer, const json& request) {
  if (request.contains("decode")) {
    const auto ids = request["decode"].get<std::vector<int32_t>>();
    return {{"text", tokenizer.decode(ids, request.value("skip", true))}};
  }
  if (request.contains("tokens")) {
    json tokens = json::array();
    for (const int32_t id : request["tokens"].get<std::vector<int32_t>>()) tokens.push_back(tokenizer.id_to_token(id));
    return {{"tokens", tokens}};
  }
  const auto text = request.at("text").get<std::string>();
  const bool special = request.value("special", true);
  std::optional<std::string> pair;
  if (request.contains("pair")) pair = request["pair"].get<std::string>();
  json encodings = json::array();
  if (request.contains("truncation")) {
    for (const Encoding& encoding : tokenizer.encode_windows(text, pair, parse_truncation(request["truncation"]), special)) {
      encodings.push_back(to_json(encoding));
    }
  } else {
    encodings.push_back(to_json(pair ? tokenizer.encode_pair(text, *pair, special) : tokenizer.encode(text, special)));
  }
  return {{"encodings", encodings}};
}

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

json time_texts(const bertie::Tokenizer& tokenizer, const json& request) {
  const auto texts = request.at("texts").get<std::vector<std::string>>();
  size_t tokens = 0;
  const double start = thread_seconds();
  for (const std::string& text : texts) tokens += tokenizer.encode(text).size();
  return {{"seconds", thread_seconds() - start}, {"tokens", tokens}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: tokenize_dump TOKENIZER [--time] < requests\n";
    return 2;
  }
  const bool timing = argc > 2 && std::string_view(argv[2]) == "--time";
  std::ios::sync_with_stdio(false);
  try {
    const auto tokenizer = bertie::Tokenizer::load(argv[1]);
    std::string line;
    while (std::getline(std::cin, line)) {
      json result;
      try {
        const json request = json::parse(line);
        result = timing ? time_texts(*tokenizer, request) : answer(*tokenizer, request);
      } catch (const bertie::Error& error) {
        result = {{"error", error.what()}};
      }
      std::cout << result.dump() << '\n';
      if (timing) std::cout.flush();
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
