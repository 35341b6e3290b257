// Which weights of a layer are rounded to their other neighbour, so that the errors of an output's weights cancel over the texts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "base/unfilled.h"

namespace bertie::calibration {

// An input [R, K] of layers, as they meet it once it is quantised: the second moments of z = (x - mean) / migration. Off the diagonal they are
// drawn towards 0, the more the fewer the rows: what few rows seem to say of two channels is mostly chance.
class InputMoments {
 public:
  InputMoments(std::span<const float> rows, std::span<const float> mean, std::span<const float> migration, ThreadPool& pool);
  // [K, K]
  std::span<const float> values() const { return values_.span(); }

 private:
  Unfilled<float> values_;
};

// For each row of `weights` [N, K], which are multiplied by `migration` and rounded, the columns as TensorCalibration::other_neighbours holds
// them: one after another, the weight whose other neighbour takes most from the mean squared error d^T M d of the output, d the row's rounding
// errors and M the moments, as long as there is one, at most kOthers of a row. AdaRound's aim (Nagel et al., 2020) in few numbers: the first of
// these weights take most of what all of them could. The same result on any number of threads.
inline constexpr size_t kOthers = 64;
std::vector<std::vector<int32_t>> choose_other_neighbours(const InputMoments& moments, std::span<const float> weights,
                                                          std::span<const float> migration, ThreadPool& pool);

}  // namespace bertie::calibration
