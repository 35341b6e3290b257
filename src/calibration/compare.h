// How far B's answers are from A's over texts: the figures of the task that the models are for, and what each encoder layer adds.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/model.h"
#include "bertie/tasks.h"
#include "calibration/text_sample.h"

namespace bertie::calibration {

struct Side {
  std::string name;  // what errors call it
  Model model;
  TaskOptions options;  // token_budget is not used
};

struct CompareOptions {
  double lead = 0.05;   // by this much more probable than the second is A's best token where it "leads"
  double fallen = 20;   // dB: a layer with less signal to noise has fallen
  Cancelled cancelled;  // asked between batches; true ends the work with Error(cancelled)
  // Called now and then: the stage's name, texts done of all.
  std::function<void(std::string_view stage, size_t done, size_t total)> progress;
};

struct Figure {
  std::string name;
  double value = 0;
};

struct LayerNoise {
  std::string node;     // what gives the layer's output
  double decibels = 0;  // 10 log10(sum a^2 / sum (a - b)^2) over every token of every text; infinite where all are equal
};

struct Comparison {
  std::string task;  // fill-mask, embed, classify, tag, answer
  size_t texts = 0;
  size_t counted = 0;  // masked words, embeddings, texts, tokens, or starts and ends of answers
  // fill-mask: agreement (of the best token), led (how often A leads), agreement_led (of those; absent where there are none), loss_a,
  // loss_b (mean cross entropy of the token that stood there, nats), loss (B's less A's).
  // embed: cosine (mean), cosine_min.
  // others: agreement (of the label, or of all labels of a multi-label head; absent where there is one label), difference (largest of a logit).
  // all, where there are layers: snr (the least of a layer, dB).
  std::vector<Figure> figures;
  std::vector<LayerNoise> layers;
  std::string no_layers;  // why `layers` is empty
  std::optional<size_t> first_fallen;

  std::optional<double> figure(std::string_view name) const;
};

// Names of figures that may be required, and whether less is better.
struct FigureKind {
  std::string_view name;
  bool less_is_better = false;
};
std::span<const FigureKind> figure_kinds();

// Throws Error(invalid_argument) where there are no texts or no words, Error(unsupported) where the two differ in task or vocabulary,
// Error(invalid_text) naming the line that cannot be read or whose results are not finite.
Comparison compare(const Side& a, const Side& b, std::span<const SampledText> texts, const CompareOptions& options = {});

}  // namespace bertie::calibration
