// AMX tiles as the kernels of this folder use them.
#pragma once

#include "cpu/kernels/vec.h"

#if defined(BERTIE_AMX)

#include <immintrin.h>

namespace bertie::cpu::BERTIE_ISA {

constexpr int64_t kTileRows = 16;  // at most
constexpr int64_t kTileRowBytes = 64;

// Gives tiles 0 to 3 (sums) and 4 and 5 (the left factor) `rows` rows, 6 and 7 (the right factor) sixteen; rows of 64 bytes. To be
// followed by _tile_release(): a thread without tiles is cheaper to switch.
BERTIE_INLINE void configure_tiles(int64_t rows) {
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = kTileRowBytes;
    config.rows[tile] = static_cast<uint8_t>(tile < 6 ? rows : kTileRows);
  }
  // GCC does not know that the tile instructions read memory: all that was written before is to be there.
  asm volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

}  // namespace bertie::cpu::BERTIE_ISA

#endif
