// Reads one {"model": {...}, "words": [...]} a line from stdin and writes, a line each, the tokens of every word
// ([[id, begin, end], ...], or null where the model refuses the word), or {"error": "..."} where it refuses the model.
#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bertie/base.h"
#include "text/model.h"

namespace {

using nlohmann::json;

json tokens_of(const bertie::text::TokenizerModel& model, const std::string& word) {
  std::vector<bertie::text::ModelToken> tokens;
  try {
    model.tokenize(word, tokens);
  } catch (const bertie::Error&) {
    return nullptr;
  }
  json row = json::array();
  for (const auto& token : tokens) row.push_back({token.id, token.begin, token.end});
  return row;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const json request = json::parse(line);
    json answer;
    try {
      const auto model = bertie::text::make_model(request.at("model"), "model");
      answer = json::array();
      for (const auto& word : request.at("words")) answer.push_back(tokens_of(*model, word.get<std::string>()));
    } catch (const bertie::Error& error) {
      answer = {{"error", error.what()}};
    }
    std::cout << answer << "\n";
  }
}
