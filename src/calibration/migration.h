// Which part of a channel's magnitude moves into the weights, and which centre into the bias, before a tensor is quantised: several
// candidates are tried on rows that were kept, and the one whose layers' outputs come out nearest is taken.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "quant/channel_statistics.h"

namespace bertie::calibration {

// What a channel's numbers are counted from.
enum class Shift { none, tensor, channel };  // 0; the middle of the tensor's range; the middle of the channel's own
std::string_view shift_name(Shift shift);    // "none", "tensor", "channel"

// x_k = migration_k * z_k + shift_k, where z is what is quantised by one scale.
struct ChannelScheme {
  Shift kind = Shift::none;
  // Of SmoothQuant (Xiao et al., 2022): migration_k = range_k^alpha / weight_k^(1 - alpha), range_k the largest |x_k - shift_k| and weight_k
  // the largest magnitude of the weights' column k. nullopt: no migration.
  std::optional<double> alpha;
  std::vector<float> migration, shift;  // [K]
  float range = 0;                      // the largest |z| of the texts; 0 where every channel is constant
  double error = 0;  // of the layers' outputs on the rows, relative: sum of squared differences by sum of squares
};

struct MigrationOptions {
  std::vector<Shift> shifts = {Shift::none, Shift::tensor, Shift::channel};
  std::vector<double> alphas = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1};  // besides no migration; empty: that alone
};

// `rows` [R, K] of the tensor, `weights` [N, K] of the layers that read it, one under another. Weights count as rounded to eight bits
// by row, biases as corrected by the means. From 256 outputs on a quarter of them says which six candidates are judged by all. The same
// result on any number of threads.
ChannelScheme choose_channels(const ChannelStatistics& statistics, std::span<const float> rows, std::span<const float> weights,
                              const MigrationOptions& options, ThreadPool& pool);

}  // namespace bertie::calibration
