#include "calibration/migration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/parallel_parts.h"
#include "calibration/float_product.h"
#include "quant/int8.h"

namespace bertie::calibration {
namespace {

// Ranges below this share of the tensor's largest count as this: what a channel never showed in the texts must not be amplified
// without bound.
constexpr float kLeastShare = 1e-4f;
constexpr size_t kInputRows = 4;    // of one task
constexpr size_t kWeightRows = 16;  // likewise
constexpr size_t kColumnsAtOnce = 64;
// All candidates are judged by a sample of so many outputs, the best of them by all outputs. Fewer outputs: all are, by all.
constexpr size_t kSampleEvery = 4, kLeastSampled = 256, kFinalists = 6;

// Products of rows with weights, and the differences that quantised ones make.
class OutputError {
 public:
  OutputError(std::span<const float> rows, const std::vector<float>& mean, std::span<const float> weights, ThreadPool& pool)
      : weights_(weights),
        depth_(mean.size()),
        outputs_(weights.size() / std::max<size_t>(mean.size(), 1)),
        pool_(pool),
        product_(pool),
        quantized_weights_(weights.size()) {
    rows_.assign(rows.begin(), rows.end());
    rows_.insert(rows_.end(), mean.begin(), mean.end());  // the last row: its difference is what the bias is corrected by
    exact_ = product_(rows_, weights_, depth_);
    for (size_t i = 0; i + outputs_ < exact_.size(); ++i) energy_ += static_cast<double>(exact_[i]) * exact_[i];
  }

  // Of x as `scheme` and its range quantise it.
  double of(const ChannelScheme& scheme) {
    quantize_rows(scheme);
    quantize_weights(scheme.migration);
    const Unfilled<float> found = product_(quantized_rows_, quantized_weights_.span(), depth_);
    const float *exact_mean = exact_.data() + exact_.size() - outputs_, *mean = found.data() + found.size() - outputs_;
    std::vector<double> errors(found.size() / outputs_ - 1);  // by row, so that threads do not matter
    parallel_parts(pool_, errors.size(), kInputRows, [&](size_t begin, size_t end) {
      for (size_t row = begin; row < end; ++row) {
        const float *exact_row = exact_.data() + row * outputs_, *found_row = found.data() + row * outputs_;
        for (size_t n = 0; n < outputs_; ++n) {
          const double difference = static_cast<double>(exact_row[n] - found_row[n]) - (exact_mean[n] - mean[n]);
          errors[row] += difference * difference;
        }
      }
    });
    const double error = std::accumulate(errors.begin(), errors.end(), 0.0);
    return energy_ > 0 ? error / energy_ : error;
  }

 private:
  // What is left of the rows but the last one, which stays as it is.
  void quantize_rows(const ChannelScheme& scheme) {
    quantized_rows_ = rows_;
    const float step = scheme.range / kInt8Largest;
    if (step == 0) return;
    std::vector<float> inverse(depth_);
    for (size_t k = 0; k < depth_; ++k) inverse[k] = 1 / (step * scheme.migration[k]);
    parallel_parts(pool_, rows_.size() / depth_ - 1, kInputRows, [&](size_t begin, size_t end) {
      for (size_t row = begin; row < end; ++row) {
        float* values = quantized_rows_.data() + row * depth_;
        for (size_t k = 0; k < depth_; ++k) {
          const float q = held_int8((values[k] - scheme.shift[k]) * inverse[k]);
          values[k] = q * step * scheme.migration[k] + scheme.shift[k];
        }
      }
    });
  }

  // What is left of the weights: columns times the migration, rows rounded to eight bits, and back.
  void quantize_weights(const std::vector<float>& migration) {
    std::vector<float> inverse(depth_);
    for (size_t k = 0; k < depth_; ++k) inverse[k] = 1 / migration[k];
    parallel_parts(pool_, outputs_, kWeightRows, [&](size_t begin, size_t end) {
      for (size_t n = begin; n < end; ++n) {
        const float* from = weights_.data() + n * depth_;
        float* to = quantized_weights_.data() + n * depth_;
        for (size_t k = 0; k < depth_; ++k) to[k] = from[k] * migration[k];
        const float largest = largest_magnitude({to, depth_});
        if (largest == 0) continue;
        const float scale = largest / kInt8Largest, inverse_scale = inverse_int8(largest);
        for (size_t k = 0; k < depth_; ++k) to[k] = nearest_integer(to[k] * inverse_scale) * scale * inverse[k];
      }
    });
  }

  std::span<const float> weights_;
  size_t depth_, outputs_;
  ThreadPool& pool_;
  FloatProduct product_;
  std::vector<float> rows_;  // [R + 1, K]
  Unfilled<float> exact_;    // [R + 1, N]
  // Of one scheme after the other: large memory that is new costs more than what is written there.
  std::vector<float> quantized_rows_;
  Unfilled<float> quantized_weights_;
  double energy_ = 0;
};

std::vector<float> shifts(const ChannelStatistics& statistics, Shift kind) {
  std::vector<float> result(statistics.channels());
  const auto middle = [](float lowest, float highest) { return lowest / 2 + highest / 2; };
  if (kind == Shift::tensor) {
    const auto lowest = statistics.lowest(), highest = statistics.highest();
    std::fill(result.begin(), result.end(),
              middle(*std::min_element(lowest.begin(), lowest.end()), *std::max_element(highest.begin(), highest.end())));
  } else if (kind == Shift::channel) {
    for (size_t k = 0; k < result.size(); ++k) result[k] = middle(statistics.lowest()[k], statistics.highest()[k]);
  }
  return result;
}

// Of SmoothQuant, with a geometric mean of 1; 1 for dead channels.
std::vector<float> migrations(const std::vector<float>& ranges, const std::vector<float>& columns, double alpha) {
  const float widest = *std::max_element(ranges.begin(), ranges.end());
  const float heaviest = *std::max_element(columns.begin(), columns.end());
  std::vector<double> logarithms(ranges.size());
  double sum = 0, count = 0;
  for (size_t k = 0; k < ranges.size(); ++k) {
    if (ranges[k] == 0 || heaviest == 0) continue;
    const double range = std::max(ranges[k], widest * kLeastShare), column = std::max(columns[k], heaviest * kLeastShare);
    logarithms[k] = alpha * std::log(range) - (1 - alpha) * std::log(column);
    sum += logarithms[k];
    ++count;
  }
  std::vector<float> result(ranges.size(), 1.0f);
  for (size_t k = 0; k < ranges.size(); ++k) {
    if (ranges[k] != 0 && heaviest != 0) result[k] = static_cast<float>(std::exp(logarithms[k] - sum / count));
  }
  return result;
}

// Every shift with every alpha, and without migration; errors are not set.
std::vector<ChannelScheme> candidates(const ChannelStatistics& statistics, const std::vector<float>& columns,
                                      const MigrationOptions& options) {
  const size_t depth = statistics.channels();
  std::vector<std::optional<double>> alphas = {std::nullopt};
  alphas.insert(alphas.end(), options.alphas.begin(), options.alphas.end());
  std::vector<ChannelScheme> result;
  for (const Shift kind : options.shifts) {
    const std::vector<float> shift = shifts(statistics, kind);
    std::vector<float> ranges(depth);
    for (size_t k = 0; k < depth; ++k)
      ranges[k] = std::max(statistics.highest()[k] - shift[k], shift[k] - statistics.lowest()[k]);
    for (const std::optional<double>& alpha : alphas) {
      ChannelScheme scheme;
      scheme.kind = kind;
      scheme.alpha = alpha;
      scheme.shift = shift;
      scheme.migration = alpha ? migrations(ranges, columns, *alpha) : std::vector<float>(depth, 1.0f);
      for (size_t k = 0; k < depth; ++k) scheme.range = std::max(scheme.range, ranges[k] / scheme.migration[k]);
      result.push_back(std::move(scheme));
    }
  }
  return result;
}

Unfilled<float> sample_rows(std::span<const float> weights, size_t depth, ThreadPool& pool) {
  const size_t outputs = weights.size() / depth / kSampleEvery;
  Unfilled<float> sample(outputs * depth);
  parallel_parts(pool, outputs, kWeightRows, [&](size_t begin, size_t end) {
    for (size_t n = begin; n < end; ++n)
      std::ranges::copy(weights.subspan(n * kSampleEvery * depth, depth), sample.data() + n * depth);
  });
  return sample;
}

void set_errors(std::vector<ChannelScheme>& schemes, OutputError error) {
  for (ChannelScheme& scheme : schemes) {
    scheme.error = error.of(scheme);
    if (std::isnan(scheme.error)) scheme.error = std::numeric_limits<double>::infinity();  // sums beyond float32
  }
}

}  // namespace

std::string_view shift_name(Shift shift) { return shift == Shift::none ? "none" : shift == Shift::tensor ? "tensor" : "channel"; }

ChannelScheme choose_channels(const ChannelStatistics& statistics, std::span<const float> rows, std::span<const float> weights,
                              const MigrationOptions& options, ThreadPool& pool) {
  const size_t depth = statistics.channels();
  std::vector<float> columns(depth);  // largest magnitudes
  parallel_parts(pool, depth, kColumnsAtOnce, [&](size_t begin, size_t end) {
    for (size_t row = 0; row < weights.size(); row += depth)
      for (size_t k = begin; k < end; ++k) columns[k] = std::max(columns[k], std::abs(weights[row + k]));
  });

  std::vector<ChannelScheme> schemes = candidates(statistics, columns, options);
  const size_t outputs = weights.size() / std::max<size_t>(depth, 1);
  if (outputs >= kLeastSampled && schemes.size() > kFinalists) {
    const Unfilled<float> some = sample_rows(weights, depth, pool);
    set_errors(schemes, OutputError(rows, statistics.mean(), some.span(), pool));
    std::ranges::stable_sort(schemes, {}, &ChannelScheme::error);
    schemes.resize(kFinalists);
  }
  set_errors(schemes, OutputError(rows, statistics.mean(), weights, pool));
  return std::move(*std::ranges::min_element(schemes, {}, &ChannelScheme::error));
}

}  // namespace bertie::calibration
