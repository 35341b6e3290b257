#include <algorithm>
#include <cmath>
#include <vector>

#include "base/float_element.h"
#include "models/builder.h"

namespace bertie::models {
namespace {

// T5's bidirectional buckets as MPNet uses them (transformers, MPNetEncoder.relative_position_bucket): half of them for each
// sign, the nearer half of those exact, the others logarithmic up to 128. In float32, as there.
int64_t bucket_of(int64_t relative_position) {
  constexpr int64_t kBuckets = kRelativeBuckets / 2;
  constexpr int64_t kExact = kBuckets / 2;
  constexpr int64_t kMaxDistance = 128;
  const int64_t side = relative_position > 0 ? kBuckets : 0;
  const int64_t distance = std::abs(relative_position);
  if (distance < kExact) return side + distance;
  const float scale = static_cast<float>(std::log(static_cast<double>(kMaxDistance) / kExact));
  const float steps = std::log(static_cast<float>(distance) / kExact) / scale * static_cast<float>(kBuckets - kExact);
  return side + std::min(kExact + static_cast<int64_t>(steps), kBuckets - 1);
}

}  // namespace

Tensor relative_bias(const Tensor& table, int64_t positions) {
  const int64_t heads = table.shape[1];
  const int64_t width = 2 * positions - 1;
  std::vector<float> bias(static_cast<size_t>(heads * width));
  for (int64_t column = 0; column < width; ++column) {
    const int64_t bucket = bucket_of(column - (positions - 1));
    for (int64_t head = 0; head < heads; ++head) {
      bias[static_cast<size_t>(head * width + column)] = float_element(table.view(), static_cast<size_t>(bucket * heads + head));
    }
  }
  return Tensor::from_floats(Shape{heads, width}, bias);
}

}  // namespace bertie::models
