// A fast, non-cryptographic hash of short strings (multiply and fold, after wyhash, https://github.com/wangyi-fudan/wyhash).
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace bertie::text {

inline uint64_t mix_hash(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t load_bytes8(const char* p) {
  uint64_t value;
  std::memcpy(&value, p, 8);
  return value;
}

inline uint64_t load_bytes4(const char* p) {
  uint32_t value;
  std::memcpy(&value, p, 4);
  return value;
}

inline uint64_t hash_bytes(std::string_view bytes) {
  constexpr uint64_t k0 = 0xa0761d6478bd642full, k1 = 0xe7037ed1a0b428dbull;
  const char* p = bytes.data();
  size_t n = bytes.size();
  uint64_t seed = k0 ^ n;
  while (n > 16) {
    seed = mix_hash(load_bytes8(p) ^ k1, load_bytes8(p + 8) ^ seed);
    p += 16;
    n -= 16;
  }
  uint64_t a = 0, b = 0;
  if (n >= 8) {
    a = load_bytes8(p);
    b = load_bytes8(p + n - 8);
  } else if (n >= 4) {
    a = load_bytes4(p);
    b = load_bytes4(p + n - 4);
  } else if (n > 0) {
    a = static_cast<uint64_t>(static_cast<unsigned char>(p[0])) << 16 |
        static_cast<uint64_t>(static_cast<unsigned char>(p[n / 2])) << 8 | static_cast<unsigned char>(p[n - 1]);
  }
  return mix_hash(a ^ k1, b ^ seed);
}

}  // namespace bertie::text
