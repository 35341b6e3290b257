// What a model is compared by.
#pragma once

#include <string>
#include <vector>

#include "bertie/model.h"

namespace bertie::calibration {

// fill-mask, answer, tag or classify where the model has that head; else embed.
std::string task_of(const Model& model);
// The network's outputs that the task reads, as the network names them.
std::vector<std::string> task_outputs(const Model& model);

}  // namespace bertie::calibration
