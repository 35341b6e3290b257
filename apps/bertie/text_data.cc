#include "text_data.h"

#include <fmt/format.h>

#include "base/error.h"
#include "interrupt.h"
#include "line_reader.h"
#include "output.h"

namespace bertie::cli {

void TextData::add(CLI::App& command) {
  command.add_option("--data", path, "A file of one text a line, or - for standard input; empty lines are passed over")
      ->required();
  command.add_option("--max-texts", max_texts, fmt::format("Of more texts a random sample of so many (default {})", max_texts))
      ->check(CLI::Range(1, 1 << 30));
  command.add_option("--seed", seed, "Of that sample (default 0)");
}

std::vector<calibration::SampledText> TextData::read() const {
  LineReader reader(path);
  calibration::TextSample sample(max_texts, seed);
  std::string text;
  for (size_t line = 1;; ++line) {
    try {
      if (reader.next(text, true) == Pull::end) break;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_text) throw;
      fail(error.code(), "{}: line {}: {}", path, line, error.what());
    }
    sample.offer(line, text);
  }
  const size_t offered = sample.offered();
  if (offered == 0 && !interrupted()) fail(ErrorCode::invalid_argument, "{}: there is no text in it", path);
  if (offered > max_texts) note(fmt::format("bertie: {} of {} texts, seed {}", max_texts, offered, seed));
  return sample.take();
}

}  // namespace bertie::cli
