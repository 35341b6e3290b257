// Calibrates a model on the lines of a file, then fills a mask with eight-bit layers:
//
//   example_calibrate models/minilm-l6-mlm texts.txt cache.json
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "bertie/bertie.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: example_calibrate MODEL TEXTS CACHE\n");
    return 2;
  }
  try {
    const bertie::Model model = bertie::Model::load(argv[1]);
    std::vector<std::string> texts;
    std::ifstream file(argv[2]);
    for (std::string line; std::getline(file, line) && texts.size() < 100;) texts.push_back(line);

    bertie::CalibrateOptions options;
    options.calibrator = bertie::find_calibrator("percentile");
    const bertie::Calibration calibration = bertie::calibrate(model, texts, options);
    calibration.save(argv[3]);
    std::printf("%zu layers from %llu tokens\n", calibration.layers.size(), static_cast<unsigned long long>(calibration.tokens));

    bertie::FillMaskOptions eight_bits;
    eight_bits.precision = "int8";
    eight_bits.calibration = std::make_shared<bertie::Calibration>(bertie::Calibration::load(argv[3]));
    const auto answer = bertie::FillMask(model, eight_bits).run("Paris is the [MASK] of France.");
    std::puts(answer.masks[0].candidates[0].token.c_str());
  } catch (const bertie::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
