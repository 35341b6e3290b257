// Whether a plugin's description is one: everything that bertie reads of it later is looked at here, once.
#pragma once

#include <cstdint>
#include <string>

#include "bertie/plugin.h"

namespace bertie {

// What is wrong with it, as the end of a sentence; "" where nothing is. The ABI number is checked by the caller.
std::string description_fault(const BertiePlugin& plugin);
// 0 where the description is older than they are.
int64_t calibrator_count(const BertiePlugin& plugin);

}  // namespace bertie
