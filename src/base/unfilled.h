// Memory for numbers that are written before they are read.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace bertie {

// `size` numbers of no value yet. A vector's would be written once on one thread, which large memory notices: its pages come with the first
// write, here on the threads that write them.
template <typename T>
class Unfilled {
 public:
  Unfilled() = default;
  explicit Unfilled(size_t size) : data_(std::make_unique_for_overwrite<T[]>(size)), size_(size) {}

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  std::span<T> span() { return {data_.get(), size_}; }
  std::span<const T> span() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<T[]> data_;
  size_t size_ = 0;
};

}  // namespace bertie
