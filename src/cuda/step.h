// What the kernels of this backend share: operands brought to the device, and to the width that the step computes in.
#pragma once

#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include "backend/kernel.h"
#include "backend/refused.h"
#include "cuda/cuda_device.h"
#include "cuda/kernels/convert.h"
#include "cuda/kernels/launch.h"

namespace bertie::cuda {

inline constexpr size_t kMostInputs = 16;  // of a step

Element element_of(DType dtype);  // f32, f16 or bf16

// Floats that a device keeps.
inline bool is_stored_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16; }

// Where pieces of a workspace begin.
inline size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

// Rows of a tensor seen as [rows, last extent].
int64_t row_count(const Shape& shape);

// Throws Refused where the device is no Hopper.
void refuse_without_wgmma(const CudaDevice& device);

// How many rows of a tensor are live, as the device reads it; nullptr: all.
const int32_t* live_rows(const DeviceBatch& batch, const SymbolicShape& shape);

// A step's inputs as it is prepared; each function throws Refused naming the input where it does not suit.
class Operands {
 public:
  explicit Operands(const KernelRequest& request);
  // Of a step whose precision does not say how its floats are kept: as they are in input `like`.
  Operands(const KernelRequest& request, size_t like);

  const Node& node() const { return request_.node; }
  const std::shared_ptr<CudaDevice>& device() const { return device_; }
  bool has(size_t input) const { return node().input(input) != kNone; }
  const Value& value(size_t input) const { return request_.network.value(node().inputs[input]); }
  const Value& result(size_t output = 0) const { return request_.network.value(node().outputs[output]); }
  // Extent of the last axis.
  int64_t fixed_width(size_t input, std::string_view name) const;

  // What the step's float operands and results are kept as, by its precision as a rule, and whether products round f32 to tf32.
  DType computed() const { return computed_; }
  bool tf32() const { return tf32_; }
  // How an input that no step converts lies in memory.
  DType stored(size_t input) const;

  // run() sees the input as `dtype`: a constant is uploaded so, any other converted where it lies otherwise.
  void want(size_t input, DType dtype, std::string_view name);
  // run() sees it as it is; a constant is uploaded.
  void want_as_it_is(size_t input);
  // Of those that there are: what a kernel reads before the kernel before has ended.
  void want_constants(std::initializer_list<size_t> inputs) const;

 private:
  friend class Step;
  struct Constant {
    size_t input;
    DType dtype;
    std::shared_ptr<const DeviceBuffer> memory;
  };
  struct Conversion {
    size_t input;
    DType from, to;
    SymbolicShape shape;
  };

  const KernelRequest& request_;
  std::shared_ptr<CudaDevice> device_;
  DType computed_ = DType::f32;
  bool tf32_ = false;
  std::vector<Constant> constants_;
  std::vector<Conversion> conversions_;
};

// A step that puts its work on the stream.
class Step : public Kernel {
 public:
  // Takes what `operands` holds on the device; it still tells of the node and its precision. `result`: how float outputs are kept.
  Step(Operands& operands, DType result);

  void run(const KernelContext& context) const final;
  size_t workspace_bytes(const BatchLimits& limits, int threads) const final;
  size_t run_workspace_bytes(const BatchLimits& limits, std::span<const TensorView> inputs, int threads) const final;
  // What is not uploaded is the shape rule's: where a slice begins, the axes of a sum.
  bool reads_constant(size_t index) const final;
  size_t packed_bytes() const final { return constant_bytes_; }
  // The first output alone: scales that follow integers are f32.
  DType stored(size_t output, DType declared) const final { return output == 0 && declared == DType::f32 ? result_ : declared; }

 protected:
  // Every input has an address, and the type that was wanted.
  virtual void enqueue(const KernelContext& context) const = 0;
  virtual size_t own_workspace_bytes(const BatchLimits&) const { return 0; }
  virtual size_t own_run_workspace_bytes(const BatchLimits& limits, std::span<const TensorView> /*inputs*/) const {
    return own_workspace_bytes(limits);
  }

  CudaDevice& device() const { return *device_; }
  // Where a result in 16 bits reports that it overflowed; nullptr: it cannot.
  int32_t* overflow(const KernelContext& context) const { return result_ == DType::f16 ? context.device->overflow : nullptr; }
  const int32_t* live(const KernelContext& context) const { return live_rows(*context.device, result_shape_); }

 private:
  void convert(const TensorView& from, DType to, void* memory, const SymbolicShape& shape, const DeviceBatch& batch) const;

  std::shared_ptr<CudaDevice> device_;
  DType result_;
  SymbolicShape result_shape_;
  std::vector<Operands::Constant> constants_;
  std::vector<Operands::Conversion> conversions_;
  size_t constant_bytes_ = 0;
  Launcher<ConvertParams> convert_;
};

}  // namespace bertie::cuda
