// Packed weights that several kernels read: layers that share weights, and engines of one model.
#pragma once

#include <functional>
#include <memory>
#include <typeinfo>

#include "base/thread_pool.h"
#include "bertie/tensor.h"
#include "cpu/kernels/isa_kernels.h"

namespace bertie::cpu {

template <typename Packed>
struct SharedPacking {
  std::shared_ptr<const Packed> weight;
  bool fresh;  // made by this call
};

// The packing of this type that somebody holds of `tensor`'s very bytes, or what `pack` makes.
SharedPacking<void> find_packing(const std::type_info& type, const IsaKernels& kernels, const Tensor& tensor,
                                 const std::function<std::shared_ptr<const void>()>& pack);

// `tensor` packed: Packed(kernels, tensor, pool).
template <typename Packed>
SharedPacking<Packed> shared_packing(const IsaKernels& kernels, const Tensor& tensor, ThreadPool& pool) {
  const SharedPacking<void> found =
      find_packing(typeid(Packed), kernels, tensor, [&] { return std::make_shared<const Packed>(kernels, tensor, pool); });
  return {std::static_pointer_cast<const Packed>(found.weight), found.fresh};
}

}  // namespace bertie::cpu
