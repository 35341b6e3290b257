// Runs a model over texts, observes what its linear layers read, and chooses how that is quantised. docs/design/calibration.md says how.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bertie/calibration.h"
#include "bertie/model.h"
#include "bertie/tasks.h"
#include "calibration/migration.h"
#include "calibration/text_sample.h"

namespace bertie::calibration {

// What is tried of each part; see MigrationOptions.
struct SchemeOptions {
  MigrationOptions migration;
  bool other_neighbours = true;  // false: weights are rounded to the nearest
};

// The engine that `options` state.
TaskOptions engine_options(const CalibrateOptions& options);

// A tensor that was observed, and what was made of it.
struct ObservedTensor {
  std::vector<std::string> layers;  // that read it
  float lowest = 0, highest = 0;
  size_t dead = 0;  // channels that were always 0
  ChannelScheme scheme;
  Histogram histogram;   // of |z|
  double threshold = 0;  // the |z| that becomes 127
};

struct CalibrationRun {
  Calibration calibration;
  std::vector<ObservedTensor> tensors;  // in the order in which they are computed
  uint64_t masked = 0;                  // words
  double unknown = 0;                   // share of the words that are the unknown token
};

// As bertie::calibrate, without the choice of max_loss. Texts are run twice: for the channels' extremes, then for the histograms. Errors name
// the text's line.
CalibrationRun calibrate(const Model& model, std::span<const SampledText> texts, const CalibrateOptions& options = {},
                         const SchemeOptions& schemes = {});

}  // namespace bertie::calibration
