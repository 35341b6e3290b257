// The fast CPU backend: float32 kernels for each instruction set, chosen at run time (cpu/isa.h).
#pragma once

#include "backend/kernel.h"

namespace bertie {
const Backend& cpu_backend();
}
