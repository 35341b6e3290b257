// The oracle backend: plain loops, float32 tensors, arithmetic in double. It takes every op of docs/design/ops.md.
#pragma once

#include "backend/kernel.h"

namespace bertie {

const Backend& reference_backend();

}  // namespace bertie
