// Arithmetic and memory traffic of one step of one run, for profiles.
#pragma once

#include "backend/kernel.h"
#include "bertie/engine.h"

namespace bertie {

// FLOPs of the products (2 a multiply-add; other ops count 0) and bytes of inputs and outputs touched once.
StepTime step_cost(const Node& node, const KernelContext& context);

}  // namespace bertie
