#include <cmath>

#include "stages.h"

namespace layer_norm {
namespace {

float mean_of(const float* row, int64_t extent) {
  float sum = 0;
  for (int64_t i = 0; i < extent; ++i) sum += row[i];
  return sum / static_cast<float>(extent);
}

float variance_of(const float* row, float mean, int64_t extent) {
  float squares = 0;
  for (int64_t i = 0; i < extent; ++i) squares += (row[i] - mean) * (row[i] - mean);
  return squares / static_cast<float>(extent);
}

void normalise(const Rows& rows, const float* row, float mean, float variance, float* out) {
  const float factor = 1 / std::sqrt(variance + rows.epsilon);
  for (int64_t i = 0; i < rows.extent; ++i) out[i] = (row[i] - mean) * factor * rows.gamma[i] + rows.beta[i];
}

}  // namespace

void normalise_in_three_passes(const Rows& rows, int64_t begin, int64_t end, float* statistics) {
  const float* x = static_cast<const float*>(rows.x);
  float* out = static_cast<float*>(rows.out);
  float* means = statistics;
  float* variances = statistics + (end - begin);
  for (int64_t row = begin; row < end; ++row) means[row - begin] = mean_of(x + row * rows.extent, rows.extent);
  for (int64_t row = begin; row < end; ++row)
    variances[row - begin] = variance_of(x + row * rows.extent, means[row - begin], rows.extent);
  for (int64_t row = begin; row < end; ++row)
    normalise(rows, x + row * rows.extent, means[row - begin], variances[row - begin], out + row * rows.extent);
}

void normalise_row_by_row(const Rows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = static_cast<const float*>(rows.x) + row * rows.extent;
    const float mean = mean_of(x, rows.extent);
    normalise(rows, x, mean, variance_of(x, mean, rows.extent), static_cast<float*>(rows.out) + row * rows.extent);
  }
}

}  // namespace layer_norm
