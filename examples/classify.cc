// Many texts at once: a bad one does not stop the rest.
#include <cstdio>
#include <string>
#include <vector>

#include "bertie/bertie.h"

int main(int argc, char** argv) {
  const bertie::Model model = bertie::Model::load(argc > 1 ? argv[1] : "tests/data/tasks/bert_classify");
  bertie::Classify classify(model);
  const std::vector<bertie::ClassifyItem> items = {"A fine day.", "not UTF-8: \xff", {"The first text.", "And its pair."}};
  for (const auto& result : classify.run(items)) {
    if (result.ok()) {
      std::printf("%s %.4f\n", result.value().labels[0].label.c_str(), result.value().labels[0].score);
    } else {
      std::printf("error: %s\n", result.error().what());
    }
  }
}
