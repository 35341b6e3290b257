// What texts run through a model have told of its activations, and what static eight-bit quantisation makes of it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bertie/base.h"

namespace bertie {

// How the input x [..., K] of a linear layer becomes integers q in [-127, 127]:
//
//   x_k ~= scale * migration_k * q_k + shift_k
//
// migration moves a channel's magnitude into the weights, and shift its centre into the bias. src/quant/int8.h states the rounding.
struct TensorCalibration {
  float scale = 0;
  std::vector<float> migration;   // [K], above 0; empty: all 1
  std::vector<float> shift;       // [K]; empty: all 0
  std::vector<float> mean;        // [K], of x over the texts: corrects the bias for the weights' rounding; empty: not corrected
  float lowest = 0, highest = 0;  // of x over the texts
};

// A calibration cache: a JSON file that a person can read, refused for another model and where it was changed by hand.
struct BERTIE_API Calibration {
  std::string method;      // how the scales were chosen: "minmax", "entropy", ...
  std::string model_hash;  // Model::weights_hash
  std::string data_hash;   // of the texts
  uint64_t texts = 0, tokens = 0;
  // By the name of the linear layer, as `inspect` shows it. Layers that read one tensor have equal entries.
  std::map<std::string, TensorCalibration> layers;
  // Precision `auto`: layers that stay in float32, each with what it alone costs the task in eight bits, so that the loss of all is at most
  // max_loss (shares; docs/design/calibration.md). max_loss 0: this was not asked.
  double max_loss = 0;
  std::map<std::string, double> kept;

  // Throws Error(not_found, io), Error(invalid_file) naming the file and the field.
  static Calibration load(const std::string& path);
  // The file appears whole or not at all, and is the same bytes from the same contents. Throws Error(io).
  void save(const std::string& path) const;
  // Throws Error(invalid_argument) naming `path` where this was made from weights of another hash.
  void require_made_for(const std::string& model_weights_hash, const std::string& path) const;
};

}  // namespace bertie
