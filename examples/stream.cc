// A stream of any length in bounded memory: lines of standard input, answered in their order.
#include <cstdio>
#include <iostream>
#include <string>

#include "bertie/bertie.h"

int main(int argc, char** argv) {
  const bertie::Model model = bertie::Model::load(argc > 1 ? argv[1] : "models/minilm-l6-mlm");
  bertie::FillMask fill_mask(model, {{.truncate = true}, 1});
  const auto lines = [](std::string& line, bool) {
    return std::getline(std::cin, line) ? bertie::Pull::item : bertie::Pull::end;
  };
  const auto print = [](std::string&& line, bertie::Result<bertie::FillMaskAnswer>&& result) {
    std::printf("%s\n",
                result.ok() ? result.value().masks[0].candidates[0].text.c_str() : (line + ": " + result.error().what()).c_str());
  };
  fill_mask.stream(lines, print);
  std::fprintf(stderr, "%lld texts, %lld tokens\n", static_cast<long long>(fill_mask.times().items),
               static_cast<long long>(fill_mask.times().tokens));
}
