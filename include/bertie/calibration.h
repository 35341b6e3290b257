// What texts run through a model tell of its activations, and what static eight-bit quantisation makes of it.
//
//   bertie::Calibration calibration = bertie::calibrate(model, texts);
//   calibration.save("cache.json");
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/base.h"

namespace bertie {

// How the input x [..., K] of a linear layer becomes integers q in [-127, 127]:
//
//   x_k ~= scale * migration_k * q_k + shift_k
//
// migration moves a channel's magnitude into the weights, and shift its centre into the bias. src/quant/int8.h states the rounding.
struct TensorCalibration {
  float scale = 0;
  std::vector<float> migration;   // [K], above 0; empty: all 1
  std::vector<float> shift;       // [K]; empty: all 0
  std::vector<float> mean;        // [K], of x over the texts: corrects the bias for the weights' rounding; empty: not corrected
  float lowest = 0, highest = 0;  // of x over the texts
  // [N], by output: the columns, ascending, where the weight is rounded to its other neighbour, for then the errors of the whole row
  // cancel better over the texts. Empty: each to the nearest.
  std::vector<std::vector<int32_t>> other_neighbours;
};

// A calibration cache: a JSON file that a person can read, refused for another model and where it was changed by hand.
struct BERTIE_API Calibration {
  std::string method;      // how the scales were chosen: "minmax", "entropy", ...
  std::string model_hash;  // Model::weights_hash
  std::string data_hash;   // of the texts
  uint64_t texts = 0, tokens = 0;
  // By the name of the linear layer, as `inspect` shows it. Layers that read one tensor differ in other_neighbours alone.
  std::map<std::string, TensorCalibration> layers;
  // Precision `auto`: layers that stay in float32, each with what it alone costs the task in eight bits, so that the loss of all is at most
  // max_loss (shares; docs/design/calibration.md). max_loss 0: this was not asked.
  double max_loss = 0;
  std::map<std::string, double> kept;

  // Throws Error(not_found, io), Error(invalid_file) naming the file and the field.
  static Calibration load(const std::string& path);
  // The file appears whole or not at all, and is the same bytes from the same contents. Throws Error(io).
  void save(const std::string& path) const;
  // Throws Error(invalid_argument) naming `path` where this was made from weights of another hash.
  void require_made_for(const std::string& model_weights_hash, const std::string& path) const;
};

// ---- Making one ----

// Counts of a tensor's magnitudes in bins of one width, from 0 to a range that is known beforehand. Integers: the same values give the
// same counts in any order and any division.
class Histogram {
 public:
  static constexpr size_t kBins = 2048;  // as TensorRT's calibrators had

  // Bin i holds magnitudes in [i, i + 1) * range / kBins, the last one also the range and what is above it. A range of 0: everything
  // is in the first bin. `range` is finite and not negative.
  explicit Histogram(double range) : range_(range), counts_(kBins) {}

  BERTIE_API void add(std::span<const float> values);  // finite ones
  void add_count(size_t bin, uint64_t count) { counts_[bin] += count; }
  // What `other`, of the same range, has counted.
  void merge(const Histogram& other) {
    for (size_t bin = 0; bin < kBins; ++bin) counts_[bin] += other.counts_[bin];
  }

  double range() const { return range_; }
  double width() const { return range_ / kBins; }  // of a bin
  std::span<const uint64_t> counts() const { return counts_; }
  uint64_t total() const { return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0}); }

 private:
  double range_;
  std::vector<uint64_t> counts_;
};

// Says which magnitude of a tensor becomes the largest integer, from how often each occurs. Derive from it and hand it to calibrate, or name
// it for all of this program by register_calibrator, or in a plugin library (bertie/plugin.h), for which this class needs no linking.
class Calibrator {
 public:
  virtual ~Calibrator() = default;
  virtual std::string name() const = 0;  // what the cache says
  // The magnitude that becomes 127, finite and above 0; larger ones are clipped to it. The histogram is not empty and its range is above 0.
  // May be called from several threads at once.
  virtual double threshold(const Histogram& histogram) const = 0;
};

// By name; safe from any thread. Throws Error(invalid_argument) naming those there are. bertie's own:
//   minmax      the whole range: nothing is clipped
//   percentile  see below, of 99.99
//   mse         the edge of least squared error: step^2 / 12 for each value below it, its distance to the edge for each above
//   entropy     the edge of least relative entropy between the magnitudes, those above gathered in the last bin, and what 128 levels
//               keep of those below, as TensorRT's (S. Migacz, "8-bit inference with TensorRT", GTC 2017)
BERTIE_API std::shared_ptr<const Calibrator> find_calibrator(std::string_view name);
// Under its own name. Throws Error(invalid_argument) where that is taken.
BERTIE_API void register_calibrator(std::shared_ptr<const Calibrator> calibrator);
BERTIE_API std::vector<std::string> calibrator_names();  // in alphabetical order
// The lowest edge of a bin that this share of the values, in percent, is not above. Throws Error(invalid_argument) for no share.
BERTIE_API std::shared_ptr<const Calibrator> percentile_calibrator(double percent);

struct CalibrateOptions {
  std::shared_ptr<const Calibrator> calibrator;  // nullptr: minmax
  // Of a fill-mask model's words one in so many is masked, for the mask is what such a model is asked about; 0: none.
  uint64_t mask_every = 8;
  uint64_t seed = 0;    // of the words that are masked and the rows that are kept
  double max_loss = 0;  // above 0: also choose the layers that stay in float32 under precision `auto`
  std::string device = "cpu";
  int threads = 0;                  // 0: all usable CPUs
  bool truncate = false;            // cut a text that is longer than the model takes; otherwise it is an error
  std::function<bool()> cancelled;  // asked between batches; true ends the work with Error(cancelled)
  // Called now and then: the stage's name, how much is done of all.
  std::function<void(std::string_view stage, size_t done, size_t total)> progress;
};

class Model;

// Runs the model over texts in float32 and chooses how what its linear layers read is quantised (docs/design/calibration.md). The same texts,
// options and device give the same result on any number of threads; texts of white space alone are passed over. Throws
// Error(invalid_argument) where there is no text, a weight is not finite or the calibrator gives no threshold, Error(invalid_text) naming the text,
// from 1, that cannot be read or makes a value that is not finite, Error(unsupported) where no layer could run in eight bits.
BERTIE_API Calibration calibrate(const Model& model, std::span<const std::string> texts, const CalibrateOptions& options = {});

}  // namespace bertie
