// Sentence embeddings: which of some texts is closest in meaning to another.
#include <cstdio>
#include <string>
#include <vector>

#include "bertie/bertie.h"

int main(int argc, char** argv) {
  const bertie::Model model = bertie::Model::load(argc > 1 ? argv[1] : "models/minilm-l6-mlm");
  bertie::EmbedOptions options;
  options.normalize = true;
  bertie::Embed embed(model, options);

  const std::vector<std::string> texts = {"A cat sleeps on the sofa.", "The stock market fell sharply.",
                                          "A kitten naps on a couch."};
  const std::vector<float> query = embed.run(texts[0]);
  size_t index = 0;
  for (const auto& result : embed.run(texts)) {
    float similarity = 0;
    for (size_t i = 0; i < query.size(); ++i) similarity += query[i] * result.value()[i];
    std::printf("%.4f  %s\n", similarity, texts[index++].c_str());
  }
}
