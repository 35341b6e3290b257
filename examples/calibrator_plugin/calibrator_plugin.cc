// A calibrator of one's own, as a plugin library:
//
//   bertie calibrate MODEL --data TEXTS -o cache.json --plugin calibrator_plugin.so --method bertie.examples::RootMeanSquare
#include <algorithm>
#include <cmath>

#include <bertie/plugin.h>

namespace {

// What is above twelve times the root of the mean square is clipped.
class RootMeanSquare : public bertie::Calibrator {
 public:
  std::string name() const override { return "bertie.examples::RootMeanSquare"; }
  double threshold(const bertie::Histogram& histogram) const override {
    constexpr double kTimes = 12;
    double squares = 0;
    for (size_t bin = 0; bin < bertie::Histogram::kBins; ++bin) {
      const double centre = (static_cast<double>(bin) + 0.5) * histogram.width();
      squares += static_cast<double>(histogram.counts()[bin]) * centre * centre;
    }
    return std::min(kTimes * std::sqrt(squares / static_cast<double>(histogram.total())), histogram.range());
  }
};

}  // namespace

BERTIE_PLUGIN("calibrator", "1.0", RootMeanSquare)
