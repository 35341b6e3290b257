// Which way an engine's steps can be run.
#pragma once

#include <string>
#include <vector>

#include "bertie/engine.h"

namespace bertie {

// Planned where every extent is fixed or the packed batch's.
Execution choose_execution(const Network& network);

// Whether a step of a step-by-step run belongs on the host beside a device: it works out numbers, shapes as a rule, of what is
// there already. `host_values`: by value, whether a step on the host makes it.
bool belongs_on_host(const Network& network, const Node& node, const std::vector<bool>& host_values);

// "packed", "padded" or "": which rows a step works on.
std::string rows_of(const Network& network, const Node& node);

}  // namespace bertie
