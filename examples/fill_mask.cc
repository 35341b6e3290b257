// The ten-line program: the likeliest words for a mask.
#include <cstdio>

#include "bertie/bertie.h"

int main(int argc, char** argv) {
  const bertie::Model model = bertie::Model::load(argc > 1 ? argv[1] : "models/minilm-l6-mlm");
  bertie::FillMask fill_mask(model);
  const auto answer = fill_mask.run("Paris is the [MASK] of France.");
  for (const auto& candidate : answer.masks[0].candidates) {
    std::printf("%6.2f%%  %s\n", 100 * candidate.score, candidate.token.c_str());
  }
}
