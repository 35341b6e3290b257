// `bertie tokenize`: ids, tokens and offsets; needs no weights.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "bertie/tokenizer.h"
#include "interrupt.h"
#include "json.h"
#include "line_reader.h"
#include "options.h"
#include "output.h"

namespace bertie::cli {
namespace {

struct TokenizeOptions {
  CommonOptions common;
  std::vector<std::string> texts;
  std::string file;
};

Json to_json(const Tokenizer& tokenizer, const std::string& text, const Encoding& encoding) {
  Json tokens = Json::array(), offsets = Json::array();
  for (size_t i = 0; i < encoding.size(); ++i) {
    tokens.push_back(std::string(tokenizer.id_to_token(encoding.ids[i])));
    offsets.push_back(Json::array({encoding.offsets[i].first, encoding.offsets[i].second}));
  }
  return {{"text", text}, {"ids", encoding.ids}, {"tokens", std::move(tokens)}, {"offsets", std::move(offsets)}};
}

std::string to_table(const Tokenizer& tokenizer, const Encoding& encoding) {
  std::string table;
  for (size_t i = 0; i < encoding.size(); ++i) {
    table += fmt::format("{}{:>8}  {:>5}-{:<5}  {}", i == 0 ? "" : "\n", encoding.ids[i], encoding.offsets[i].first,
                         encoding.offsets[i].second, tokenizer.id_to_token(encoding.ids[i]));
  }
  return table;
}

int tokenize(const TokenizeOptions& options) {
  options.common.start_log();
  options.common.load_plugins();
  const auto tokenizer = options.common.load_tokenizer();
  int status = 0;
  size_t number = 0;
  const auto answer = [&](const std::string& text) {
    try {
      const Encoding encoding = tokenizer->encode(text);
      write_line(options.common.json ? to_line(to_json(*tokenizer, text, encoding)) : to_table(*tokenizer, encoding));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_text) throw;
      status = 1;
      if (options.common.json)
        write_line(to_line(Json{{"text", text}, {"error", error.what()}}));
      else
        complain(fmt::format("text {}: {}", number, error.what()));
    }
  };
  if (!options.texts.empty()) {
    for (const std::string& text : options.texts) {
      ++number;
      answer(text);
    }
    return status;
  }
  LineReader reader(options.file);
  std::string line;
  while (!interrupted()) {
    ++number;
    try {
      Pull pull = reader.next(line, false);
      if (pull == Pull::later) {
        flush_output();
        pull = reader.next(line, true);
      }
      if (pull == Pull::end) break;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_text) throw;
      status = 1;
      complain(fmt::format("text {}: {}", number, error.what()));
      continue;
    }
    answer(line);
  }
  return status;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App& command = *app.add_subcommand("tokenize", "Ids, tokens and character offsets of texts, special tokens included");
  options->common.add_model(command);
  add_texts(command, "--text", options->texts, "A text; may be given several times");
  command.add_option("--file", options->file, "One text a line; otherwise standard input where no text is named");
  options->common.add_tokenizer(command);
  options->common.add_output(command);
  command.callback([options, &action] {
    if (!options->texts.empty() && !options->file.empty()) throw UsageError("--text and --file exclude each other");
    action = [options] { return tokenize(*options); };
  });
}

}  // namespace bertie::cli
