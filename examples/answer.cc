// The three best spans of a text that answer a question.
#include <cstdio>

#include "bertie/bertie.h"

int main(int argc, char** argv) {
  const bertie::Model model = bertie::Model::load(argc > 1 ? argv[1] : "tests/data/tasks/bert_answer");
  bertie::AnswerQuestionOptions options;
  options.top_k = 3;
  bertie::AnswerQuestion answer(model, options);
  const auto found = answer.run({"Where did Mozart live?", "Wolfgang Amadeus Mozart lived in Vienna, and later in Salzburg."});
  for (const auto& span : found.spans) std::printf("%.4f  %u-%u  %s\n", span.score, span.start, span.end, span.answer.c_str());
}
