// What a fuzzer is given, as a source of choices. Behind the end all are zero.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace bertie {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  template <typename T>
  T take() {
    T value = {};
    const size_t count = std::min(sizeof(T), size_);
    if (count) std::memcpy(&value, data_, count);
    data_ += count;
    size_ -= count;
    return value;
  }
  // One of few, so that sound values are common.
  template <typename T, size_t N>
  T choose(const std::array<T, N>& values) {
    return values[take<uint8_t>() % N];
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

}  // namespace bertie
