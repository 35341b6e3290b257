// Runs a model over texts, observes what its linear layers read, and chooses how that is quantised. docs/design/calibration.md says how.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/calibration.h"
#include "bertie/model.h"
#include "bertie/tasks.h"
#include "calibration/migration.h"
#include "calibration/text_sample.h"
#include "quant/calibrator.h"

namespace bertie::calibration {

struct CalibrateOptions {
  std::string method = "minmax";                 // what the cache says
  std::shared_ptr<const Calibrator> calibrator;  // nullptr: the one of that name
  MigrationOptions migration;
  // Of a fill-mask model's words one in so many is masked, for [MASK] is what such a model is asked; 0: none.
  uint64_t mask_every = 8;
  uint64_t seed = 0;    // of the words that are masked and the rows that are kept
  TaskOptions engine;   // device, precision and threads of the run; truncate
  Cancelled cancelled;  // asked between batches; true ends the work with Error(cancelled)
  // Called now and then: the stage's name, how much is done of all.
  std::function<void(std::string_view stage, size_t done, size_t total)> progress;
};

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

// The same texts, options and device give the same result on any number of threads. Texts are run twice: for the channels' extremes, then
// for the histograms. Throws Error(invalid_argument) where there is no text, Error(invalid_text) naming the line that cannot be read or the
// layer and line where a value is not finite, Error(unsupported) where no layer could run in eight bits.
CalibrationRun calibrate(const Model& model, std::span<const SampledText> texts, const CalibrateOptions& options = {});

}  // namespace bertie::calibration
