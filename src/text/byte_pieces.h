// The pieces that spell single bytes where a model falls back to them.
#pragma once

#include <array>

#include "text/vocabulary.h"

namespace bertie::text {

// Ids of <0x00> to <0xFF>; -1 where there is none.
std::array<int32_t, 256> find_byte_pieces(const Vocabulary& vocabulary);

}  // namespace bertie::text
