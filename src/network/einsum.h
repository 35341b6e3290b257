// Einstein's sums: an equation "bhid,bhjd->bhij" taken apart, shared by the shape rule and the kernel.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bertie {

struct EinsumPlan {
  int labels = 0;  // how many there are; those below `outputs` are the result's axes, the others are summed over
  int outputs = 0;
  std::vector<std::vector<int>> operands;  // the label of each axis of each operand
};

// `ranks` are the operands'. Letters name axes, "..." stands for axes that broadcast, and without "->" the result has the ellipsis and the
// letters that occur once, in alphabetical order. nullopt, and `problem` says why, where the equation does not fit.
std::optional<EinsumPlan> plan_einsum(std::string_view equation, const std::vector<size_t>& ranks, std::string& problem);

}  // namespace bertie
