// Which way an engine's steps can be run.
#pragma once

#include <string>

#include "bertie/engine.h"

namespace bertie {

// Planned where every extent is fixed or the packed batch's.
Execution choose_execution(const Network& network);

// "packed", "padded" or "": which rows a step works on.
std::string rows_of(const Network& network, const Node& node);

}  // namespace bertie
