#include "calibration/other_neighbours.h"

#include <algorithm>
#include <limits>

#include "base/four_floats.h"
#include "base/parallel_parts.h"
#include "calibration/float_product.h"
#include "quant/int8.h"

namespace bertie::calibration {
namespace {

constexpr float kRowsOfDoubt = 150;  // with so many rows half of what they say of two channels is believed
constexpr size_t kRowsAtOnce = 16;   // of one task

// Of one row of weights, in steps of its integers: how far each one's integer lies from it, and how far its other neighbour from that.
void round_row(std::span<const float> row, std::span<const float> migration, std::span<float> errors, std::span<int8_t> moves) {
  for (size_t k = 0; k < row.size(); ++k) errors[k] = row[k] * migration[k];
  const float largest = largest_magnitude(errors), inverse = inverse_int8(largest);
  for (size_t k = 0; k < row.size(); ++k) {
    const float scaled = errors[k] * inverse;
    const int8_t nearest = held_int8(scaled);
    errors[k] = nearest - scaled;
    moves[k] = static_cast<int8_t>(other_int8(scaled) - nearest);
  }
}

struct Move {
  float change;  // of the output's mean squared error
  size_t k;
};

// The first of the moves that change least; infinity where none changes it by a number. All as long.
Move cheapest_move(std::span<const float> costs, std::span<const float> steps, std::span<const float> slopes) {
  // Each lane takes every fourth move. Written out, since compilers leave a search for a place scalar.
  constexpr size_t kLanes = 4;
  constexpr float kNever = std::numeric_limits<float>::infinity();
  FourFloats least = {kNever, kNever, kNever, kNever};
  FourWords at = {}, place = {0, 1, 2, 3};
  size_t k = 0;
  for (; k + kLanes <= costs.size(); k += kLanes) {
    const FourFloats change = load_four(&costs[k]) + 2 * load_four(&steps[k]) * load_four(&slopes[k]);
    const FourWords less = change < least;
    least = less ? change : least;
    at = less ? place : at;
    place += static_cast<int32_t>(kLanes);
  }
  Move move = {least[0], static_cast<size_t>(at[0])};
  for (size_t lane = 1; lane < kLanes; ++lane) {
    const auto own = static_cast<size_t>(at[lane]);
    if (least[lane] < move.change || (least[lane] == move.change && own < move.k)) move = {least[lane], own};
  }
  for (; k < costs.size(); ++k) {
    const float change = costs[k] + 2 * steps[k] * slopes[k];
    if (change < move.change) move = {change, k};
  }
  return move;
}

// Of one row; `slopes` [K] = M errors, `costs` [K] what each move costs by itself.
std::vector<int32_t> choose(std::span<const float> moments, std::vector<float> costs, std::span<const int8_t> moves,
                            std::span<float> slopes) {
  const size_t depth = moves.size();
  std::vector<int32_t> chosen;
  const std::vector<float> steps(moves.begin(), moves.end());
  while (chosen.size() < kOthers) {
    const auto [change, best] = cheapest_move(costs, steps, slopes);
    if (!(change < 0)) break;
    chosen.push_back(static_cast<int32_t>(best));
    costs[best] = std::numeric_limits<float>::infinity();  // it stays there
    const float step = steps[best];
    for (size_t k = 0; k < depth; ++k) slopes[k] += step * moments[best * depth + k];
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

InputMoments::InputMoments(std::span<const float> rows, std::span<const float> mean, std::span<const float> migration,
                           ThreadPool& pool) {
  const size_t depth = mean.size(), count = rows.size() / std::max<size_t>(depth, 1);
  Unfilled<float> columns(rows.size());  // [K, R]
  parallel_parts(pool, depth, kRowsAtOnce, [&](size_t begin, size_t end) {
    for (size_t row = 0; row < count; ++row)
      for (size_t k = begin; k < end; ++k) columns[k * count + row] = (rows[row * depth + k] - mean[k]) / migration[k];
  });
  if (count == 0) {
    values_ = Unfilled<float>(depth * depth);
    std::ranges::fill(values_.span(), 0.0f);
    return;
  }
  values_ = FloatProduct(pool)(columns.span(), columns.span(), count);
  const auto total = static_cast<float>(count);
  const float diagonal = 1 / total, elsewhere = 1 / (total + kRowsOfDoubt);
  parallel_parts(pool, depth, kRowsAtOnce, [&](size_t begin, size_t end) {
    for (size_t k = begin; k < end; ++k)
      for (size_t other = 0; other < depth; ++other) values_[k * depth + other] *= k == other ? diagonal : elsewhere;
  });
}

std::vector<std::vector<int32_t>> choose_other_neighbours(const InputMoments& moments, std::span<const float> weights,
                                                          std::span<const float> migration, ThreadPool& pool) {
  if (weights.empty()) return {};
  const size_t depth = migration.size(), outputs = weights.size() / depth;
  Unfilled<float> errors(weights.size());
  Unfilled<int8_t> moves(weights.size());
  const auto for_rows = [&](const auto& body) {
    parallel_parts(pool, outputs, kRowsAtOnce, [&](size_t begin, size_t end) {
      for (size_t n = begin; n < end; ++n) body(n);
    });
  };
  for_rows([&](size_t n) {
    const size_t begin = n * depth;
    round_row(weights.subspan(begin, depth), migration, errors.span().subspan(begin, depth), moves.span().subspan(begin, depth));
  });
  Unfilled<float> slopes = FloatProduct(pool)(errors.span(), moments.values(), depth);
  std::vector<float> costs(depth);  // read here once, for a column lies far from the next
  for (size_t k = 0; k < depth; ++k) costs[k] = moments.values()[k * depth + k];
  std::vector<std::vector<int32_t>> result(outputs);
  for_rows([&](size_t n) {
    const size_t begin = n * depth;
    result[n] = choose(moments.values(), costs, moves.span().subspan(begin, depth), slopes.span().subspan(begin, depth));
  });
  return result;
}

}  // namespace bertie::calibration
