// Signal to noise of each encoder layer's output, A's taken for the signal.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "calibration/compare.h"
#include "calibration/layer_outputs.h"
#include "calibration/paired_run.h"

namespace bertie::calibration {

double cosine(std::span<const float> a, std::span<const float> b);  // of equal length; NaN where one is zero

// Sums over any number of values.
class SignalToNoise {
 public:
  void add(std::span<const float> signal, std::span<const float> noisy);
  double decibels() const;  // infinite where all are equal

 private:
  double signal_ = 0, noise_ = 0;
};

class LayerNoiseRun {
 public:
  static constexpr size_t kFloats = size_t{1} << 24;  // of one group's layers

  // Engines of their own: with the layers as outputs the task's would do work that `run` does not.
  LayerNoiseRun(const Side& a, const Side& b);
  const std::string& refusal() const { return refusal_; }  // why nothing can be compared; empty: it can
  size_t floats_per_token() const { return floats_per_token_; }
  void run(std::span<const EncodedText> texts, const Cancelled& cancelled);
  std::vector<LayerNoise> result() const;

 private:
  const Side &a_, &b_;
  LayerOutputs layers_a_, layers_b_;
  std::string refusal_;
  size_t floats_per_token_ = 0;
  std::unique_ptr<SideRunner> runner_a_, runner_b_;
  std::vector<SignalToNoise> sums_;
};

}  // namespace bertie::calibration
