// Calibrators: which magnitude of a tensor becomes the largest integer, from how often each occurs.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "quant/histogram.h"

namespace bertie {

class Calibrator {
 public:
  virtual ~Calibrator() = default;
  // The magnitude that becomes 127, above 0; larger ones are clipped to it. The histogram is not empty and its range is above 0.
  virtual double threshold(const Histogram& histogram) const = 0;
};

// The whole range: nothing is clipped.
std::shared_ptr<const Calibrator> minmax_calibrator();
// The lowest edge of a bin that this share of the values, in percent, is not above.
std::shared_ptr<const Calibrator> percentile_calibrator(double percent = 99.99);
// The edge of least squared error: step^2 / 12 for each value below it, its distance to the edge for each above (bins count as their
// centres).
std::shared_ptr<const Calibrator> mse_calibrator();
// The edge of least relative entropy between the magnitudes, those above gathered in the last bin, and what 128 levels keep of those below,
// as TensorRT's entropy calibrator (S. Migacz, "8-bit inference with TensorRT", GTC 2017).
std::shared_ptr<const Calibrator> entropy_calibrator();

// By name: those above under "minmax", "percentile", "mse" and "entropy", and what was registered. Safe from any thread.
// Throws Error(invalid_argument) naming those there are.
std::shared_ptr<const Calibrator> find_calibrator(std::string_view name);
// Throws Error(invalid_argument) where the name is taken.
void register_calibrator(std::string name, std::shared_ptr<const Calibrator> calibrator);
std::vector<std::string> calibrator_names();

}  // namespace bertie
