// What sessions need to know of a network's inputs after the passes, and how ids are brought into their dtype.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "bertie/network.h"

namespace bertie {

// Inputs that pass select_rows adds: rows of the batch's tokens, not of the caller's network.
inline constexpr std::string_view kHeadRows = "head_rows", kFirstRows = "first_rows";
bool is_selection(const Value& input);

bool is_read(const Network& network, ValueId input);  // by a node or as an output
bool is_packed(const Value& value);                   // [tokens, ...]

// `values` as `dtype`, one behind the other.
void write_as(DType dtype, std::span<const int32_t> values, void* out);

// Positions of whole padded rows of `columns` ids each, by the rule.
void fill_padded_positions(std::span<const int32_t> ids, int64_t columns, const PositionRule& rule, std::span<int32_t> positions);

}  // namespace bertie
