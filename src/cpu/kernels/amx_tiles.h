// AMX tiles as the kernels of this folder use them.
#pragma once

#include "cpu/kernels/vec.h"

#if defined(__AMX_TILE__)

namespace bertie::cpu::BERTIE_ISA {

constexpr int64_t kTileRows = 16;  // at most
constexpr int64_t kTileRowBytes = 64;

// While one lives, tiles 0 to 3 (sums) and 4 and 5 (the left factor) have `rows` rows, 6 and 7 (the right factor) sixteen; all rows
// have 64 bytes. Tiles are released with it: a thread without them is cheaper to switch.
class TileUse {
 public:
  __attribute__((always_inline)) explicit TileUse(int64_t rows) {
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
  TileUse(const TileUse&) = delete;
  TileUse& operator=(const TileUse&) = delete;
  __attribute__((always_inline)) ~TileUse() { _tile_release(); }
};

}  // namespace bertie::cpu::BERTIE_ISA

#endif
