#include "cuda/step.h"

#include <algorithm>
#include <array>

#include "backend/batch_shape.h"

namespace bertie::cuda {

Element element_of(DType dtype) {
  return dtype == DType::f16 ? Element::f16 : dtype == DType::bf16 ? Element::bf16 : Element::f32;
}

int64_t row_count(const Shape& shape) {
  int64_t rows = 1;
  for (int axis = 0; axis + 1 < shape.rank(); ++axis) rows *= shape[axis];
  return rows;
}

void refuse_without_wgmma(const CudaDevice& device) {
  const int capability = device.capability();
  if (capability != 90)
    throw Refused{fmt::format("compute capability {}.{}: 9.0 alone has wgmma", capability / 10, capability % 10)};
}

const int32_t* live_rows(const DeviceBatch& batch, const SymbolicShape& shape) {
  if (shape.empty()) return nullptr;
  if (shape[0] == Dim("tokens")) return batch.tokens;
  if (shape[0] == Dim("rows")) return batch.rows;
  if (shape[0] == Dim("batch")) return batch.sequences;
  return nullptr;
}

Operands::Operands(const KernelRequest& request)
    : request_(request), device_(std::static_pointer_cast<CudaDevice>(request.device)) {
  const std::string precision = request.node.text("precision", "fp32");
  if (precision == "fp16") {
    computed_ = DType::f16;
  } else if (precision == "bf16") {
    computed_ = DType::bf16;
  } else if (precision == "tf32") {
    tf32_ = true;
  } else if (precision != "fp32") {
    throw Refused{"no kernel in " + precision};
  }
}

Operands::Operands(const KernelRequest& request, size_t like)
    : request_(request), device_(std::static_pointer_cast<CudaDevice>(request.device)), computed_(stored(like)) {}

int64_t Operands::fixed_width(size_t input, std::string_view name) const {
  const SymbolicShape& shape = value(input).shape;
  if (shape.empty() || !shape.back().is_fixed()) throw Refused{fmt::format("the width of {} is not fixed", name)};
  return shape.back().size;
}

DType Operands::stored(size_t input) const { return request_.stored[static_cast<size_t>(node().inputs[input])]; }

void Operands::want(size_t input, DType dtype, std::string_view name) {
  const Value& own = value(input);
  if (own.constant) {
    if (!is_stored_float(own.dtype)) throw Refused{fmt::format("{} is {}", name, dtype_name(own.dtype))};
    constants_.push_back({input, dtype, device_->upload(*own.constant, dtype)});
    return;
  }
  const DType from = stored(input);
  if (!is_stored_float(from)) throw Refused{fmt::format("{} is {}", name, dtype_name(from))};
  if (from != dtype) conversions_.push_back({input, from, dtype, own.shape});
}

void Operands::want_as_it_is(size_t input) {
  const Value& own = value(input);
  if (own.constant) constants_.push_back({input, own.dtype, device_->upload(*own.constant, own.dtype)});
}

void Operands::want_constants(std::initializer_list<size_t> inputs) const {
  for (const size_t input : inputs)
    if (has(input) && !value(input).constant) throw Refused{"not all of its parameters are constants"};
}

Step::Step(Operands& operands, DType result)
    : device_(std::move(operands.device_)),
      result_(result),
      result_shape_(operands.result().shape),
      constants_(std::move(operands.constants_)),
      conversions_(std::move(operands.conversions_)),
      convert_(device_->launcher<ConvertParams>("convert")) {
  for (const Operands::Constant& constant : constants_) constant_bytes_ += constant.memory->bytes();
}

size_t Step::workspace_bytes(const BatchLimits& limits, int) const {
  size_t bytes = 0;
  for (const auto& conversion : conversions_)
    bytes += aligned(static_cast<size_t>(shape_in(limits, conversion.shape).elements()) * dtype_size(conversion.to));
  return bytes + own_workspace_bytes(limits);
}

size_t Step::run_workspace_bytes(const BatchLimits& limits, std::span<const TensorView> inputs, int) const {
  size_t bytes = 0;
  for (const auto& conversion : conversions_)
    bytes += aligned(static_cast<size_t>(inputs[conversion.input].shape.elements()) * dtype_size(conversion.to));
  return bytes + own_run_workspace_bytes(limits, inputs);
}

bool Step::reads_constant(size_t index) const {
  return std::none_of(constants_.begin(), constants_.end(), [&](const auto& constant) { return constant.input == index; });
}

void Step::convert(const TensorView& from, DType to, void* memory, const SymbolicShape& shape, const DeviceBatch& batch) const {
  ConvertParams params{};
  params.from = from.data;
  params.to = memory;
  params.from_element = element_of(from.dtype);
  params.to_element = element_of(to);
  params.count = from.shape.elements();
  params.live_rows = live_rows(batch, shape);
  if (params.live_rows && from.shape[0] > 0) params.row_elements = params.count / from.shape[0];
  params.overflow = to == DType::f16 || from.dtype == DType::f16 ? batch.overflow : nullptr;
  params.step = batch.step;
  device_->launch(convert_, params, batch.stream);
}

void Step::run(const KernelContext& context) const {
  const DeviceBatch& batch = *context.device;
  std::array<TensorView, kMostInputs> inputs;
  std::copy(context.inputs.begin(), context.inputs.end(), inputs.begin());
  for (const auto& constant : constants_) {
    inputs[constant.input].data = constant.memory->data();
    inputs[constant.input].dtype = constant.dtype;
  }
  std::span<std::byte> workspace = context.workspace;
  for (const auto& conversion : conversions_) {
    TensorView& view = inputs[conversion.input];
    convert(view, conversion.to, workspace.data(), conversion.shape, batch);
    view.data = workspace.data();
    view.dtype = conversion.to;
    workspace = workspace.subspan(aligned(view.bytes()));
  }
  enqueue({std::span(inputs.data(), context.inputs.size()), context.outputs, context.batch, workspace, context.pool, &batch});
  if (batch.check_results && context.outputs[0].dtype == DType::f16)
    convert(context.outputs[0], DType::f16, context.outputs[0].data, result_shape_, batch);
}

}  // namespace bertie::cuda
