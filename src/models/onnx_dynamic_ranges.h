// Dynamic quantisation, one range a row.
#pragma once

#include <string>
#include <vector>

#include "bertie/network.h"

namespace bertie::models {

// ONNX takes the range of DynamicQuantizeLinear over its whole tensor: in a padded batch, a sequence's result would depend on its
// neighbours and on padding. Where the quantised tensor is only multiplied (matmul_integer) and its scale only multiplied in again,
// each row gets a range of its own instead, which is at least as exact. Gives a line for the log about each kind of case.
std::vector<std::string> quantize_rows_apart(Network& network);

}  // namespace bertie::models
