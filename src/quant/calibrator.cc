// bertie's own calibrators, those of plugins, and the table of all.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>

#include <fmt/ranges.h>

#include "base/error.h"
#include "bertie/calibration.h"
#include "network/plugin_node.h"
#include "network/plugin_registry.h"

namespace bertie {
namespace {

constexpr size_t kBins = Histogram::kBins;

constexpr double kPercent = 99.99;

class MinMax : public Calibrator {
 public:
  std::string name() const override { return "minmax"; }
  double threshold(const Histogram& histogram) const override { return histogram.range(); }
};

class Percentile : public Calibrator {
 public:
  explicit Percentile(double percent) : percent_(percent) {}
  std::string name() const override { return percent_ == kPercent ? "percentile" : fmt::format("percentile {}", percent_); }
  double threshold(const Histogram& histogram) const override {
    const double wanted = percent_ / 100 * static_cast<double>(histogram.total());
    uint64_t sum = 0;
    for (size_t bin = 0; bin < kBins; ++bin) {
      sum += histogram.counts()[bin];
      if (static_cast<double>(sum) >= wanted) return static_cast<double>(bin + 1) * histogram.width();
    }
    return histogram.range();
  }

 private:
  double percent_;
};

class Mse : public Calibrator {
 public:
  std::string name() const override { return "mse"; }
  double threshold(const Histogram& histogram) const override {
    // In widths of a bin. From the last edge down: of the values above one, number, sum and sum of squares.
    double least = std::numeric_limits<double>::infinity(), best = kBins, above = 0, sum = 0, squares = 0;
    const auto total = static_cast<double>(histogram.total());
    for (size_t edge = kBins; edge > 0; --edge) {
      const auto t = static_cast<double>(edge);
      const double error = (total - above) * t * t / (127.0 * 127.0 * 12.0) + squares - 2 * t * sum + t * t * above;
      if (error < least) {
        least = error;
        best = t;
      }
      const auto count = static_cast<double>(histogram.counts()[edge - 1]);
      const double centre = t - 0.5;
      above += count;
      sum += count * centre;
      squares += count * centre * centre;
    }
    return best * histogram.width();
  }
};

class Entropy : public Calibrator {
 public:
  static constexpr size_t kLevels = 128;

  std::string name() const override { return "entropy"; }
  double threshold(const Histogram& histogram) const override {
    // Sums over the bins below each edge, so that an edge takes one visit to each level.
    std::array<uint64_t, kBins + 1> counts{}, occupied{};
    std::array<double, kBins + 1> entropy{};  // of c log c
    const auto c = [&](size_t bin) { return static_cast<double>(histogram.counts()[bin]); };
    const auto c_log_c = [](double count) { return count > 0 ? count * std::log(count) : 0; };
    for (size_t bin = 0; bin < kBins; ++bin) {
      counts[bin + 1] = counts[bin] + histogram.counts()[bin];
      occupied[bin + 1] = occupied[bin] + (histogram.counts()[bin] > 0 ? 1 : 0);
      entropy[bin + 1] = entropy[bin] + c_log_c(c(bin));
    }
    const auto total = static_cast<double>(counts[kBins]);
    double least = std::numeric_limits<double>::infinity();
    size_t best = kBins;
    for (size_t edge = kBins; edge >= kLevels; --edge) {
      const uint64_t outliers = counts[kBins] - counts[edge];
      const auto kept = static_cast<double>(counts[edge]);
      // sum of p log(p / q), p = c / total, the last bin with the outliers; q = level's share of `kept`, spread over its occupied bins.
      double cross = 0;  // of c log q
      bool possible = true;
      for (size_t level = 0; level < kLevels && possible; ++level) {
        const size_t begin = level * edge / kLevels, end = (level + 1) * edge / kLevels;
        const uint64_t inside = counts[end] - counts[begin];
        const bool last = level + 1 == kLevels;
        const uint64_t bins =
            occupied[end] - occupied[begin] + (last && outliers > 0 && histogram.counts()[edge - 1] == 0 ? 1 : 0);
        const auto p = static_cast<double>(inside + (last ? outliers : 0));
        if (p == 0) continue;
        possible = inside > 0;
        cross += p * std::log(static_cast<double>(inside) / static_cast<double>(bins) / kept);
      }
      if (!possible) continue;
      const double own = entropy[edge - 1] + c_log_c(c(edge - 1) + static_cast<double>(outliers));
      const double divergence = (own - cross) / total - std::log(total);
      if (divergence < least) {
        least = divergence;
        best = edge;
      }
    }
    return static_cast<double>(best) * histogram.width();
  }
};

// One that a plugin library describes.
class OfPlugin : public Calibrator {
 public:
  explicit OfPlugin(PluginCalibrator own) : own_(std::move(own)) {}
  std::string name() const override { return own_.abi->name; }
  double threshold(const Histogram& histogram) const override {
    const auto counts = histogram.counts();
    const BertieHistogram seen = {sizeof(BertieHistogram), histogram.range(), static_cast<int64_t>(counts.size()), counts.data()};
    const PluginText text;
    double magnitude = 0;
    if (own_.abi->threshold(own_.abi->self, &seen, &magnitude, &text.abi()) != BERTIE_OK)
      fail(ErrorCode::plugin_failed, "plugin '{}': calibrator '{}' failed: {}", own_.plugin, own_.abi->name, text.line());
    return magnitude;
  }

 private:
  PluginCalibrator own_;
};

using Calibrators = std::map<std::string, std::shared_ptr<const Calibrator>, std::less<>>;

// The program's.
struct Registry {
  std::mutex mutex;
  Calibrators calibrators = {{"entropy", std::make_shared<Entropy>()},
                             {"minmax", std::make_shared<MinMax>()},
                             {"mse", std::make_shared<Mse>()},
                             {"percentile", std::make_shared<Percentile>(kPercent)}};
};

Registry& registry() {
  static Registry registry;
  return registry;
}

Calibrators all_calibrators() {
  const std::lock_guard lock(registry().mutex);
  Calibrators all = registry().calibrators;
  for (PluginCalibrator& own : plugin_calibrators()) {
    const std::string name = own.abi->name;
    all.try_emplace(name, std::make_shared<OfPlugin>(std::move(own)));
  }
  return all;
}

}  // namespace

std::shared_ptr<const Calibrator> percentile_calibrator(double percent) {
  if (!(percent > 0 && percent <= 100))
    fail(ErrorCode::invalid_argument, "a percentile is above 0 and at most 100, not {}", percent);
  return std::make_shared<Percentile>(percent);
}

std::shared_ptr<const Calibrator> find_calibrator(std::string_view name) {
  const Calibrators known = all_calibrators();
  if (const auto found = known.find(name); found != known.end()) return found->second;
  fail(ErrorCode::invalid_argument, "no calibrator '{}'; there are {}", name, fmt::join(calibrator_names(), ", "));
}

void register_calibrator(std::shared_ptr<const Calibrator> calibrator) {
  const std::string name = calibrator->name();
  bool taken = all_calibrators().contains(name);
  if (!taken) {
    const std::lock_guard lock(registry().mutex);
    taken = !registry().calibrators.try_emplace(name, std::move(calibrator)).second;
  }
  if (taken) fail(ErrorCode::invalid_argument, "there is a calibrator '{}' already", name);
}

std::vector<std::string> calibrator_names() {
  std::vector<std::string> names;
  for (const auto& entry : all_calibrators()) names.push_back(entry.first);
  return names;
}

}  // namespace bertie
