// The fast CPU backend: its kernels, for the instruction set in use.
#pragma once

#include "backend/kernel.h"

namespace bertie {

const Backend& cpu_backend();

}  // namespace bertie
