// How sure a model is of each word: every word piece of every line is masked in turn, and only the masked rows meet the vocabulary. Prints
// "best lead loss" a position: the best token's id, how much more probable it is than the second, and the cross entropy of the token that
// stood there.   masked_words MODEL FILE [device [precision [PATTERN=P ...]]]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "bertie/bertie.h"

namespace {

void print(std::span<const float> logits, int32_t stood) {
  const auto best = std::max_element(logits.begin(), logits.end());
  double sum = 0, second = -INFINITY;
  for (auto logit = logits.begin(); logit != logits.end(); ++logit) {
    sum += std::exp(static_cast<double>(*logit) - *best);
    if (logit != best) second = std::max<double>(second, *logit);
  }
  std::printf("%td %.9g %.9g\n", best - logits.begin(), (1 - std::exp(second - *best)) / sum,
              std::log(sum) + *best - logits[static_cast<size_t>(stood)]);
}

void run_line(bertie::Session& session, const bertie::Encoding& line, int32_t mask) {
  std::vector<int32_t> ids, starts = {0}, rows;
  for (size_t at = 0; at < line.size(); ++at) {
    if (line.special_tokens_mask[at]) continue;
    rows.push_back(static_cast<int32_t>(ids.size() + at));
    ids.insert(ids.end(), line.ids.begin(), line.ids.end());
    ids[static_cast<size_t>(rows.back())] = mask;
    starts.push_back(static_cast<int32_t>(ids.size()));
  }
  if (rows.empty()) return;
  bertie::Batch batch;
  batch.token_ids = ids;
  batch.cumulative_lengths = starts;
  batch.head_rows = rows;
  session.run(batch);
  const bertie::TensorView logits = session.output("logits");
  const auto width = static_cast<size_t>(logits.shape[1]);
  for (size_t row = 0; row < rows.size(); ++row)
    print({logits.as<float>() + row * width, width}, line.ids[static_cast<size_t>(rows[row]) % line.size()]);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bertie::Model model = bertie::Model::load(argc > 1 ? argv[1] : "models/minilm-l6-mlm");
    bertie::EngineOptions options;
    options.outputs = options.select_rows = {"logits"};
    if (argc > 3) options.device = argv[3];
    if (argc > 4) options.precision = argv[4];
    for (int i = 5; i < argc; ++i) options.layer_precision.emplace_back(argv[i]);
    constexpr int64_t kLongest = 128;  // tokens of a line
    bertie::Session session(bertie::Engine::build(model.network(), options), {kLongest * kLongest, kLongest, kLongest, kLongest});
    std::ifstream file(argc > 2 ? argv[2] : "tests/data/evaluation.txt");
    for (std::string line; std::getline(file, line);)
      run_line(session, model.tokenizer()->encode(line), model.tokenizer()->mask_id().value());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
