// What each layer in eight bits costs the task, alone; and which layers to keep in float32 so that all others may have eight.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bertie/calibration.h"
#include "bertie/model.h"
#include "bertie/tasks.h"
#include "calibration/text_sample.h"

namespace bertie::calibration {

struct LayerLoss {
  std::string layer;
  double loss = 0;
};

// Losses are shares. Of a masked-language model: the mean relative entropy of its tokens' probabilities, which is how much its loss is expected
// to grow, by the loss in float32. Of others: the squared difference of the task's outputs by their squares.
struct Sensitivity {
  std::vector<LayerLoss> layers;  // each alone in eight bits, the others in float32; the largest loss first
  double all = 0;                 // every layer in eight bits
  std::vector<std::string>
      kept;         // the fewest of `layers`, taken in order, that keep the loss within max_loss, where that is above 0
  double loss = 0;  // with these in float32
};

// Of the layers of `calibration` that the task's outputs are made by. Throws Error(invalid_argument) where there is no text, Error(invalid_text) naming a line.
Sensitivity measure_sensitivity(const Model& model, const std::shared_ptr<const Calibration>& calibration,
                                std::span<const SampledText> texts, const CalibrateOptions& options = {});

// Measures on at most 64 of the texts, evenly spread, and writes into `calibration` which layers stay in float32 for the loss to be at most
// options.max_loss, where that is above 0.
Sensitivity choose_precision(const Model& model, std::span<const SampledText> texts, const CalibrateOptions& options,
                             Calibration& calibration);

}  // namespace bertie::calibration
