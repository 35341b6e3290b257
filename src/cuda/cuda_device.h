// One GPU through the library's interface: backend/device.h, and what only this backend's kernels use.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/device.h"
#include "base/error.h"
#include "bertie/tensor.h"
#include "cuda/api.h"

namespace bertie::cuda {

// A family of kernels by its name, whose params are of type Params.
template <typename Params>
struct Launcher {
  const BertieCudaLauncher* launcher = nullptr;
};

class CudaDevice final : public Device, public std::enable_shared_from_this<CudaDevice> {
 public:
  // Device `index` of those that the driver shows. Throws Error(unsupported) saying in one sentence why it cannot be used.
  static std::shared_ptr<CudaDevice> open(const BertieCudaApi& api, int index);
  ~CudaDevice() override = default;

  const std::string& name() const override { return name_; }
  const std::string& description() const override { return description_; }
  void* allocate(size_t bytes, const char* purpose) override;
  void* allocate_pinned(size_t bytes, const char* purpose) override;
  void release(void* memory) noexcept override { api_.release(index_, memory); }
  void release_pinned(void* memory) noexcept override { api_.release_pinned(memory); }
  std::unique_ptr<Stream> make_stream() override;

  const BertieCudaApi& api() const { return api_; }
  int index() const { return index_; }
  const BertieCudaProperties& properties() const { return properties_; }
  int capability() const { return properties_.major * 10 + properties_.minor; }  // 90

  // Throws Error(unsupported) where `status` is not 0, as "device cuda:0: WHAT: the library's words".
  void check(int32_t status, const char* what) const;

  // Throws Error(unsupported) where the library has no such kernels, or others of this name.
  template <typename Params>
  Launcher<Params> launcher(const char* name) const {
    return {&find_launcher(name, sizeof(Params))};
  }
  template <typename Params>
  void launch(const Launcher<Params>& launcher, const Params& params, const Stream& stream) const {
    check(launcher.launcher->launch(&params, index_, stream.handle()), launcher.launcher->name);
  }

  // A constant in the device's memory as `dtype` (float to float), row-major. The same memory where another kernel already holds these
  // very bytes so.
  std::shared_ptr<const DeviceBuffer> upload(const Tensor& tensor, DType dtype);

 private:
  CudaDevice(const BertieCudaApi& api, int index, const BertieCudaProperties& properties);
  // Of a stream (kernels/linear_layer_norm.h); empty where the device has no such kernels or no room, or enough streams have theirs.
  std::shared_ptr<const DeviceBuffer> make_mailboxes();
  const BertieCudaLauncher& find_launcher(const char* name, size_t params_bytes) const;
  [[noreturn]] void fail_allocation(int32_t status, size_t bytes, const char* purpose, bool pinned) const;

  const BertieCudaApi& api_;
  int index_;
  BertieCudaProperties properties_;
  std::string name_, description_;
  std::mutex mutex_;  // of what follows
  struct Upload {
    std::weak_ptr<const void> source;  // an address may be used again, by another tensor
    std::weak_ptr<const DeviceBuffer> buffer;
  };
  std::map<std::pair<const void*, DType>, Upload> uploads_;
  std::vector<std::weak_ptr<const DeviceBuffer>> mailboxes_;
};

}  // namespace bertie::cuda
