// Calibrators against their definitions in plain loops over bins, and on histograms whose answer is known.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <random>

#include "base/message_of_test.h"
#include "bertie/plugin.h"

namespace bertie {
namespace {

using testing::HasSubstr;

constexpr size_t kBins = Histogram::kBins;

Histogram histogram_of(const std::function<double(size_t)>& count, double range = 8) {
  Histogram histogram(range);
  for (size_t bin = 0; bin < kBins; ++bin) histogram.add_count(bin, static_cast<uint64_t>(count(bin)));
  return histogram;
}

// Shapes as activations have them: bells, tails, gaps, a far outlier, one bin alone.
std::vector<Histogram> shapes() {
  const auto bell = [](double deviation, double height) {
    return [=](size_t bin) { return height * std::exp(-0.5 * std::pow(static_cast<double>(bin) / deviation, 2)); };
  };
  std::vector<Histogram> result = {
      histogram_of(bell(300, 1e6)),
      histogram_of(bell(60, 1e5)),
      histogram_of([&](size_t bin) { return bell(90, 1e4)(bin) + (bin == kBins - 1 ? 3 : 0); }, 0.03),
      histogram_of([](size_t bin) { return 1e6 / std::pow(static_cast<double>(bin + 1), 1.5); }),
      histogram_of([](size_t bin) { return bin % 7 == 3 ? static_cast<double>(bin) : 0; }, 1e20),
      histogram_of([](size_t bin) { return bin == 0 ? 5 : 0; }),
      histogram_of([](size_t bin) { return bin == kBins - 1 ? 1 : 0; }),
      histogram_of([](size_t) { return 9; }),
  };
  std::mt19937_64 random(3);
  for (int i = 0; i < 6; ++i)
    result.push_back(histogram_of([&](size_t) { return static_cast<double>(random() % 5 * (random() % 2)); }));
  return result;
}

double slow_mse(const Histogram& histogram, size_t edge) {
  long double error = 0;
  for (size_t bin = 0; bin < kBins; ++bin) {
    const long double step = edge / 127.0L, past = bin + 0.5L - edge;
    error += histogram.counts()[bin] * (bin < edge ? step * step / 12 : past * past);
  }
  return static_cast<double>(error);
}

// The slides' own loop: reference distribution, quantised distribution, expansion, divergence.
double slow_divergence(const Histogram& histogram, size_t edge) {
  std::vector<double> p(edge), q(edge);
  for (size_t bin = 0; bin < kBins; ++bin) p[std::min(bin, edge - 1)] += static_cast<double>(histogram.counts()[bin]);
  double p_sum = 0, q_sum = 0;
  for (size_t level = 0; level < 128; ++level) {
    double inside = 0, occupied = 0;
    const size_t begin = level * edge / 128, end = (level + 1) * edge / 128;
    for (size_t bin = begin; bin < end; ++bin) {
      inside += static_cast<double>(histogram.counts()[bin]);
      occupied += p[bin] > 0 ? 1 : 0;
    }
    for (size_t bin = begin; bin < end; ++bin) q[bin] = p[bin] > 0 ? inside / occupied : 0;
  }
  for (size_t bin = 0; bin < edge; ++bin) p_sum += p[bin], q_sum += q[bin];
  double divergence = 0;
  for (size_t bin = 0; bin < edge; ++bin) {
    if (p[bin] > 0) divergence += p[bin] / p_sum * std::log(p[bin] / p_sum / (q[bin] / q_sum));
  }
  return divergence;
}

// The threshold is an edge whose error, by the slow definition, no other edge undercuts.
void expect_least(const Calibrator& calibrator, const Histogram& histogram, size_t first,
                  const std::function<double(const Histogram&, size_t)>& error) {
  const double threshold = calibrator.threshold(histogram);
  const auto edge = static_cast<size_t>(std::lround(threshold / histogram.width()));
  EXPECT_EQ(threshold, static_cast<double>(edge) * histogram.width());
  ASSERT_GE(edge, first);
  ASSERT_LE(edge, kBins);
  double least = std::numeric_limits<double>::infinity();
  for (size_t other = first; other <= kBins; ++other) {
    const double found = error(histogram, other);
    if (found < least) least = found;  // NaN: no candidate
  }
  EXPECT_NEAR(error(histogram, edge), least, 1e-9 * std::abs(least) + 1e-12);
}

TEST(Calibrator, MseIsTheLeastOfAllEdges) {
  for (const Histogram& histogram : shapes()) expect_least(*find_calibrator("mse"), histogram, 1, slow_mse);
}

TEST(Calibrator, EntropyIsTheLeastOfAllEdges) {
  for (const Histogram& histogram : shapes()) expect_least(*find_calibrator("entropy"), histogram, 128, slow_divergence);
}

TEST(Calibrator, EntropyCutsAFarOutlierAndMinMaxDoesNot) {
  const Histogram histogram = histogram_of([](size_t bin) {
    return bin < 256 ? std::floor(1e6 * std::exp(static_cast<double>(bin) / -30)) : bin == kBins - 1 ? 1 : 0;
  });
  EXPECT_EQ(find_calibrator("minmax")->threshold(histogram), 8);
  EXPECT_LE(find_calibrator("entropy")->threshold(histogram), 2);
  EXPECT_GE(find_calibrator("entropy")->threshold(histogram), 0.5);
}

TEST(Calibrator, PercentileIsAnExactShare) {
  const Histogram histogram = histogram_of([](size_t bin) { return bin == 0 ? 9999 : bin == 512 ? 1 : 0; });
  EXPECT_EQ(percentile_calibrator(99.99)->threshold(histogram), histogram.width());
  EXPECT_EQ(percentile_calibrator(99.995)->threshold(histogram), 513 * histogram.width());
  EXPECT_EQ(percentile_calibrator(100)->threshold(histogram), 513 * histogram.width());
  EXPECT_EQ(find_calibrator("percentile")->threshold(histogram), histogram.width());
  for (const double percent : {0.0, -1.0, 100.1, std::nan("")}) EXPECT_THROW(percentile_calibrator(percent), Error);
}

struct Half : Calibrator {
  std::string name() const override { return "half"; }
  double threshold(const Histogram& histogram) const override { return histogram.range() / 2; }
};

TEST(Calibrator, OfOnesOwnByName) {
  register_calibrator(std::make_shared<Half>());
  EXPECT_EQ(find_calibrator("half")->threshold(Histogram(3)), 1.5);
  const std::vector<std::string> names = calibrator_names();
  EXPECT_THAT(names, testing::IsSupersetOf({"entropy", "half", "minmax", "mse", "percentile"}));
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const std::string& name : names) EXPECT_EQ(find_calibrator(name)->name(), name);
  EXPECT_EQ(percentile_calibrator(99.5)->name(), "percentile 99.5");
  EXPECT_THAT(message_of([] { register_calibrator(std::make_shared<Half>()); }), HasSubstr("'half'"));
  EXPECT_THAT(message_of([] { register_calibrator(find_calibrator("mse")); }), HasSubstr("'mse'"));
  EXPECT_THAT(message_of([] { find_calibrator("best"); }), AllOf(HasSubstr("'best'; there are "), HasSubstr("entropy, half")));
}

// Through the C interface, as from a library.
struct Busiest : Calibrator {
  std::string name() const override { return "test.quant::Busiest"; }
  double threshold(const Histogram& histogram) const override {
    if (histogram.total() == 0) throw std::runtime_error("nothing was\ncounted");
    const auto counts = histogram.counts();
    return static_cast<double>(std::max_element(counts.begin(), counts.end()) - counts.begin() + 1) * histogram.width();
  }
};

TEST(Calibrator, OfAPlugin) {
  const PluginInfo info = plugin::register_ops<Busiest>("quant_test", "2.1");
  EXPECT_EQ(info.calibrators, (std::vector<std::string>{"test.quant::Busiest"}));
  EXPECT_TRUE(info.ops.empty());
  EXPECT_THAT(calibrator_names(), testing::Contains("test.quant::Busiest"));
  const auto calibrator = find_calibrator("test.quant::Busiest");
  EXPECT_EQ(calibrator->name(), "test.quant::Busiest");
  const Histogram histogram = histogram_of([](size_t bin) { return bin == 511 ? 4 : bin == 90 ? 3 : 0; });
  EXPECT_EQ(calibrator->threshold(histogram), 2);
  EXPECT_THAT(message_of([&] { calibrator->threshold(Histogram(1)); }),
              HasSubstr("plugin 'quant_test v2.1': calibrator 'test.quant::Busiest' failed: nothing was"));
}

TEST(Calibrator, APluginsDescriptionIsChecked) {
  BertieCalibrator own = {sizeof(BertieCalibrator), "test.quant::Own", nullptr,
                          [](void*, const BertieHistogram*, double*, const BertieText*) -> int32_t { return BERTIE_FAILED; }};
  const BertieCalibrator* all[] = {&own, &own};
  BertiePlugin plugin = {BERTIE_PLUGIN_ABI, sizeof(BertiePlugin), "described", "1", nullptr, 0, nullptr, 1, all};
  const auto fault = [&] { return message_of([&] { register_plugin(plugin); }); };
  own.name = "plain";
  EXPECT_THAT(fault(), HasSubstr("calibrator 0 is not named domain::Name"));
  own.name = "test.quant::Own";
  own.size = 8;
  EXPECT_THAT(fault(), HasSubstr("calibrator 0's description has 8 bytes"));
  own.size = sizeof(BertieCalibrator);
  own.threshold = nullptr;
  EXPECT_THAT(fault(), HasSubstr("has no threshold"));
  own.threshold = [](void*, const BertieHistogram*, double*, const BertieText*) -> int32_t { return BERTIE_FAILED; };
  plugin.calibrator_count = 2;
  EXPECT_THAT(fault(), HasSubstr("described twice"));
  plugin.calibrator_count = -1;
  EXPECT_THAT(fault(), HasSubstr("-1 calibrators"));
  plugin.calibrator_count = 1;
  plugin.size = offsetof(BertiePlugin, calibrator_count);  // older than calibrators: they are not read, and there is no op
  EXPECT_THAT(fault(), HasSubstr("0 ops"));
  plugin.size = sizeof(BertiePlugin);
  EXPECT_EQ(register_plugin(plugin).calibrators.size(), 1u);
  EXPECT_THAT(message_of([] { find_calibrator("test.quant::Own")->threshold(Histogram(1)); }), HasSubstr("no reason given"));
  BertiePlugin other = plugin;
  EXPECT_THAT(message_of([&] { register_plugin(other); }), HasSubstr("already has a calibrator 'test.quant::Own'"));
}

}  // namespace
}  // namespace bertie
