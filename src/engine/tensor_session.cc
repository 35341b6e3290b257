// Named padded tensors in, every network output back in its padded shape.
#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include "base/cpu_affinity.h"
#include "base/error.h"
#include "base/float_element.h"
#include "engine/engine_run.h"
#include "engine/network_inputs.h"
#include "engine/padded_rows.h"
#include "network/op.h"
#include "passes/row_rules.h"

namespace bertie {
namespace {

constexpr int64_t kTokensAtOnce = 4096;

double element(const TensorView& view, size_t index) {
  switch (view.dtype) {
    case DType::i8: return view.as<int8_t>()[index];
    case DType::u8: return view.as<uint8_t>()[index];
    case DType::boolean: return view.as<uint8_t>()[index] != 0;
    case DType::i32: return view.as<int32_t>()[index];
    case DType::i64: return static_cast<double>(view.as<int64_t>()[index]);
    case DType::f64: return view.as<double>()[index];
    default: return float_element(view, index);
  }
}

// As the network's caller knows a value.
SymbolicShape padded_shape(const Value& value) {
  SymbolicShape shape = value.shape;
  if (!is_packed(value)) return shape;
  shape[0] = Dim("sequence");
  shape.insert(shape.begin(), Dim("batch"));
  return shape;
}

Tensor make_tensor(DType dtype, const Shape& shape) {
  const size_t bytes = static_cast<size_t>(shape.elements()) * dtype_size(dtype);
  std::shared_ptr<std::byte[]> storage(new std::byte[std::max<size_t>(bytes, 1)]());
  return {dtype, shape, std::shared_ptr<const void>(storage, storage.get())};
}

}  // namespace

struct TensorSession::Impl {
  explicit Impl(std::shared_ptr<const Engine> owner);

  std::vector<NamedTensor> run(std::span<const NamedTensor> given);

  // A network input in a run.
  struct Input {
    ValueId id = kNone;
    const NamedTensor* given = nullptr;
    std::string label;  // in errors
    Tensor tensor;      // padded, of the network's dtype
    std::vector<std::byte> packed;
    int64_t ids = 0;  // ids are below this; 0: any
  };
  void match(std::span<const NamedTensor> given);
  void bind_symbols();
  void convert(Input& input) const;
  void fill_default(Input& input);
  void read_mask();
  void check_ids(const Input& input, const PaddedRows& rows) const;
  void check_columns(const PackedBatch& packed) const;
  int64_t group_end(int64_t first) const;
  int64_t attended(int64_t row) const;
  void run_group(int64_t first, int64_t last, std::vector<NamedTensor>& results);
  void take_output(size_t index, int64_t first, const PaddedRows& rows, Tensor& result);
  void clear_padding(size_t index, Tensor& result) const;
  Shape shape_of(const SymbolicShape& symbolic, const std::string& label) const;

  std::shared_ptr<const Engine> engine;
  Engine::Impl::Place place;
  const Engine::Impl* plan;
  std::vector<Port> input_ports, output_ports;
  std::vector<bool> encoder_outputs;  // see comes_from_encoder
  bool independent = false;
  std::unique_ptr<EngineRun> engine_run;
  SessionLimits limits{0, 0, 0, 0};
  // Of one run.
  std::vector<Input> inputs;
  std::map<std::string, std::pair<int64_t, std::string>, std::less<>> symbols;  // extent, and the input that set it
  int64_t batch = 0, columns = 0;
  std::vector<uint8_t> mask;  // [batch, columns]
};

TensorSession::Impl::Impl(std::shared_ptr<const Engine> owner)
    : engine(std::move(owner)), place(Engine::Impl::of_new_session(*engine)), plan(place.plan) {
  const Network& network = engine->network();
  if (!engine->options().select_rows.empty()) {
    fail(ErrorCode::unsupported, "the engine was built with select_rows: padded tensors do not say which rows are wanted");
  }
  for (ValueId id : network.inputs()) {
    const Value& value = network.value(id);
    if (!is_selection(value)) input_ports.push_back({value.name, value.dtype, padded_shape(value)});
  }
  for (const Network::Output& output : network.outputs()) {
    const Value& value = network.value(output.value);
    output_ports.push_back({output.name, value.dtype, padded_shape(value)});
    encoder_outputs.push_back(comes_from_encoder(network, output.value));
  }
  // Packed sequences do not meet; a network that runs padded may mix them.
  const auto by_batch = [](const Port& port) { return !port.shape.empty() && port.shape[0] == Dim("batch"); };
  independent = engine->execution().planned && std::all_of(input_ports.begin(), input_ports.end(), by_batch) &&
                std::all_of(output_ports.begin(), output_ports.end(), by_batch);
}

void TensorSession::Impl::match(std::span<const NamedTensor> given) {
  const Network& network = plan->network;
  inputs.clear();
  for (ValueId id : network.inputs()) {
    const Value& value = network.value(id);
    Input& input = inputs.emplace_back();
    input.id = id;
    input.label = value.name;
    if (value.role == InputRole::token_ids) input.ids = plan->vocabulary;
    if (value.role == InputRole::type_ids) input.ids = plan->types;
    if (value.role == InputRole::position_ids) input.ids = plan->positions;
  }
  for (const NamedTensor& tensor : given) {
    const auto found = std::find_if(inputs.begin(), inputs.end(), [&](const Input& input) {
      return network.value(input.id).name == tensor.name && !is_selection(network.value(input.id));
    });
    if (found == inputs.end()) {
      std::vector<std::string_view> names;
      for (const Port& port : input_ports) names.push_back(port.name);
      fail(ErrorCode::invalid_argument, "the network has no input {}; it has {}", tensor.name, fmt::join(names, ", "));
    }
    if (found->given) fail(ErrorCode::invalid_argument, "input {} is given twice", tensor.name);
    found->given = &tensor;
    if (!tensor.origin.empty()) found->label = tensor.origin;
  }
}

// Extents that are symbols are what the given tensors say, and the same wherever they stand.
void TensorSession::Impl::bind_symbols() {
  symbols.clear();
  for (const Input& input : inputs) {
    if (!input.given) continue;
    const SymbolicShape symbolic = padded_shape(plan->network.value(input.id));
    const Shape& shape = input.given->tensor.shape;
    bool fits = static_cast<size_t>(shape.rank()) == symbolic.size();
    for (size_t axis = 0; fits && axis < symbolic.size(); ++axis) {
      const int64_t extent = shape[static_cast<int>(axis)];
      if (symbolic[axis].is_fixed()) {
        fits = symbolic[axis].size == extent;
        continue;
      }
      const auto [known, added] = symbols.try_emplace(symbolic[axis].symbol, extent, input.label);
      if (known->second.first == extent) continue;
      fail(ErrorCode::invalid_argument, "{}: the shape is {}, but {} is {} in {}", input.label, shape.to_string(),
           symbolic[axis].symbol, known->second.first, known->second.second);
    }
    if (!fits) {
      fail(ErrorCode::invalid_argument, "{}: the shape is {}; {} is needed", input.label, shape.to_string(), to_string(symbolic));
    }
  }
}

Shape TensorSession::Impl::shape_of(const SymbolicShape& symbolic, const std::string& label) const {
  std::vector<int64_t> extents;
  for (const Dim& dim : symbolic) {
    const auto known = symbols.find(dim.symbol);
    if (!dim.is_fixed() && known == symbols.end()) {
      fail(ErrorCode::invalid_argument, "the input {} is missing, and none that is given has the extent {} of {}", label,
           dim.symbol, to_string(symbolic));
    }
    extents.push_back(dim.is_fixed() ? dim.size : known->second.first);
  }
  return Shape(std::span<const int64_t>(extents));
}

// To the network's dtype.
void TensorSession::Impl::convert(Input& input) const {
  const Value& value = plan->network.value(input.id);
  const TensorView from = input.given->tensor.view();
  if (from.dtype == value.dtype) {
    input.tensor = input.given->tensor;
    return;
  }
  const bool mask_input = value.role == InputRole::attention_mask;
  if (is_float(from.dtype) != is_float(value.dtype) && !mask_input) {
    fail(ErrorCode::invalid_argument, "{}: the dtype is {}; {} is needed", input.label, dtype_name(from.dtype),
         is_float(value.dtype) ? "a float" : "an integer or bool");
  }
  input.tensor = make_tensor(value.dtype, from.shape);
  auto* out = const_cast<void*>(input.tensor.data.get());
  const auto count = static_cast<size_t>(from.shape.elements());
  if (value.dtype == DType::f32 && !mask_input) {
    for (size_t i = 0; i < count; ++i) static_cast<float*>(out)[i] = static_cast<float>(element(from, i));
    return;
  }
  if (value.dtype == DType::f64 || value.dtype == DType::f16 || value.dtype == DType::bf16) {
    if (!mask_input)
      fail(ErrorCode::invalid_argument, "{}: the dtype is {}; {} is needed", input.label, dtype_name(from.dtype),
           dtype_name(value.dtype));
  }
  std::vector<int32_t> numbers(count);
  for (size_t i = 0; i < count; ++i) {
    const double number = element(from, i);
    if (mask_input) {
      numbers[i] = number != 0;
    } else if (number < -2147483648.0 || number > 2147483647.0) {
      fail(ErrorCode::invalid_argument, "{}: {} is out of range", input.label, number);
    } else {
      numbers[i] = static_cast<int32_t>(number);
    }
  }
  write_as(value.dtype, numbers, out);
}

void TensorSession::Impl::fill_default(Input& input) {
  const Value& value = plan->network.value(input.id);
  if (value.role == InputRole::none || value.role == InputRole::token_ids) {
    fail(ErrorCode::invalid_argument, "the input {} is missing", value.name);
  }
  const Shape shape = shape_of(padded_shape(value), value.name);
  if (shape.rank() != 2) {
    fail(ErrorCode::invalid_argument, "the input {} {} is missing", value.name, to_string(value.shape));
  }
  std::vector<int32_t> numbers(static_cast<size_t>(shape.elements()), value.role == InputRole::attention_mask ? 1 : 0);
  if (value.role == InputRole::position_ids) {
    std::vector<int32_t> ids(numbers.size(), -2);  // no token is padding where there are no ids
    for (const Input& other : inputs) {
      if (plan->network.value(other.id).role != InputRole::token_ids) continue;
      for (size_t i = 0; i < std::min<size_t>(ids.size(), static_cast<size_t>(other.tensor.shape.elements())); ++i)
        ids[i] = static_cast<int32_t>(element(other.tensor.view(), i));
    }
    fill_padded_positions(ids, shape[1], plan->position_rule, numbers);
  }
  input.tensor = make_tensor(value.dtype, shape);
  write_as(value.dtype, numbers, const_cast<void*>(input.tensor.data.get()));
}

void TensorSession::Impl::read_mask() {
  const auto extent = [&](const char* symbol) {
    const auto known = symbols.find(symbol);
    return known == symbols.end() ? 0 : known->second.first;
  };
  batch = extent("batch");
  columns = extent("sequence");
  mask.assign(static_cast<size_t>(batch * columns), 1);
  for (const Input& input : inputs) {
    const Value& value = plan->network.value(input.id);
    if (value.role != InputRole::attention_mask || !has_rows(plan->network, input.id) || value.shape.size() != 2) continue;
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = element(input.tensor.view(), i) != 0;
  }
}

int64_t TensorSession::Impl::attended(int64_t row) const {
  const auto own = std::span(mask).subspan(static_cast<size_t>(row * columns), static_cast<size_t>(columns));
  return std::count_if(own.begin(), own.end(), [](uint8_t keep) { return keep != 0; });
}

// As many sequences as make kTokensAtOnce tokens, at least one; all of them where they may not be parted.
int64_t TensorSession::Impl::group_end(int64_t first) const {
  if (!independent) return batch;
  int64_t tokens = 0, row = first;
  for (; row < batch; ++row) {
    tokens += attended(row);
    if (row > first && tokens > kTokensAtOnce) break;
  }
  return row;
}

void TensorSession::Impl::check_ids(const Input& input, const PaddedRows& rows) const {
  const auto* ids = reinterpret_cast<const int32_t*>(input.packed.data());
  for (size_t i = 0; i < rows.sources().size(); ++i) {
    if (ids[i] >= 0 && ids[i] < input.ids) continue;
    const int64_t source = rows.sources()[i];
    fail(ErrorCode::invalid_argument, "{}: the id {} at [{}, {}] is out of range [0, {})", input.label, ids[i], source / columns,
         source % columns, input.ids);
  }
}

// Every pair of columns of one sequence has an entry in the relative bias.
void TensorSession::Impl::check_columns(const PackedBatch& packed) const {
  if (plan->bias_columns == 0) return;
  for (int64_t b = 0; b < packed.sequences; ++b) {
    const int32_t begin = packed.cumulative_lengths[b], end = packed.cumulative_lengths[b + 1];
    const int32_t span = begin == end ? 0 : packed.columns[end - 1] - packed.columns[begin] + 1;
    if (span > plan->bias_columns) {
      fail(ErrorCode::invalid_argument, "a sequence spans {} columns: the model's relative bias has {}", span,
           plan->bias_columns);
    }
  }
}

void TensorSession::Impl::run_group(int64_t first, int64_t last, std::vector<NamedTensor>& results) {
  const Network& network = plan->network;
  const PaddedRows rows(mask, columns, first, last, plan->reads_first_rows);
  const PackedBatch& packed = rows.batch();
  check_columns(packed);
  std::vector<TensorView> views;
  for (Input& input : inputs) {
    const Value& value = network.value(input.id);
    TensorView& view = views.emplace_back();
    if (value.name == kFirstRows) {
      view = {packed.cumulative_lengths, DType::i32, {packed.sequences}};
    } else if (is_packed(value)) {
      const Shape& shape = input.tensor.shape;
      const int64_t row = std::max<int64_t>(shape[0] * shape[1], 1);
      rows.gather(input.tensor.data.get(), input.tensor.bytes() / static_cast<size_t>(row), input.packed);
      if (input.ids > 0) check_ids(input, rows);
      std::vector<int64_t> extents(shape.begin() + 1, shape.end());
      extents[0] = packed.tokens;
      view = {input.packed.data(), value.dtype, Shape(std::span<const int64_t>(extents))};
    } else {
      view = input.tensor.view();
    }
  }
  const SessionLimits needed{packed.tokens, packed.sequences, packed.longest, 0};
  if (!engine_run || needed.tokens > limits.tokens || needed.sequences > limits.sequences || needed.longest > limits.longest) {
    limits = {std::max(limits.tokens, needed.tokens), std::max(limits.sequences, needed.sequences),
              std::max(limits.longest, needed.longest), 0};
    engine_run.reset();
    engine_run = make_run(*plan, limits);
  }
  const PinnedScope pinned(place.cpu);
  engine_run->run(packed, views, {});
  for (size_t i = 0; i < results.size(); ++i) take_output(i, first, rows, results[i].tensor);
}

void TensorSession::Impl::take_output(size_t index, int64_t first, const PaddedRows& rows, Tensor& result) {
  const Network& network = plan->network;
  const ValueId id = network.outputs()[index].value;
  const TensorView view = engine_run->output(id);
  auto* out = static_cast<std::byte*>(const_cast<void*>(result.data.get()));
  if (is_packed(network.value(id))) {
    std::vector<int64_t> extents{batch, columns};
    extents.insert(extents.end(), view.shape.begin() + 1, view.shape.end());
    if (!result.data) {
      result = make_tensor(view.dtype, Shape(std::span<const int64_t>(extents)));
      out = static_cast<std::byte*>(const_cast<void*>(result.data.get()));
    }
    if (view.shape[0] > 0) rows.scatter(view.data, view.bytes() / static_cast<size_t>(view.shape[0]), out);
    return;
  }
  Shape shape = view.shape;
  if (independent) shape[0] = batch;
  if (!result.data) {
    result = make_tensor(view.dtype, shape);
    out = static_cast<std::byte*>(const_cast<void*>(result.data.get()));
  }
  const size_t row = independent && view.shape[0] > 0 ? view.bytes() / static_cast<size_t>(view.shape[0]) : 0;
  if (view.bytes() > 0) std::memcpy(out + static_cast<size_t>(first) * row, view.data, view.bytes());
}

// Rows of the encoder's results that are no token's, and results of sequences without tokens, are zero.
void TensorSession::Impl::clear_padding(size_t index, Tensor& result) const {
  const SymbolicShape& shape = output_ports[index].shape;
  if (!encoder_outputs[index] || shape.empty() || !(shape[0] == Dim("batch"))) return;
  const bool per_token = shape.size() >= 2 && shape[1] == Dim("sequence");
  const auto units = static_cast<size_t>(per_token ? batch * columns : batch);
  if (units == 0) return;
  const size_t bytes = result.bytes() / units;
  auto* out = static_cast<std::byte*>(const_cast<void*>(result.data.get()));
  for (size_t i = 0; i < units; ++i) {
    const bool keep = per_token ? mask[i] != 0 : attended(static_cast<int64_t>(i)) > 0;
    if (!keep) std::memset(out + i * bytes, 0, bytes);
  }
}

std::vector<NamedTensor> TensorSession::Impl::run(std::span<const NamedTensor> given) {
  match(given);
  bind_symbols();
  for (Input& input : inputs) {
    if (input.given) convert(input);
  }
  for (Input& input : inputs) {
    if (!input.given && !is_selection(plan->network.value(input.id))) fill_default(input);
  }
  read_mask();
  std::vector<NamedTensor> results;
  for (const Port& port : output_ports) results.push_back({port.name, {}, {}});
  int64_t first = 0;
  do {
    const int64_t last = group_end(first);
    run_group(first, last, results);
    first = last;
  } while (first < batch);
  for (size_t i = 0; i < results.size(); ++i) clear_padding(i, results[i].tensor);
  for (Input& input : inputs) input = {};  // the caller's tensors are not kept
  return results;
}

TensorSession::TensorSession(std::shared_ptr<const Engine> engine) : impl_(std::make_unique<Impl>(std::move(engine))) {}
TensorSession::~TensorSession() = default;
TensorSession::TensorSession(TensorSession&&) noexcept = default;
TensorSession& TensorSession::operator=(TensorSession&&) noexcept = default;
std::span<const TensorSession::Port> TensorSession::inputs() const { return impl_->input_ports; }
std::span<const TensorSession::Port> TensorSession::outputs() const { return impl_->output_ports; }
bool TensorSession::independent_sequences() const { return impl_->independent; }
std::vector<NamedTensor> TensorSession::run(std::span<const NamedTensor> inputs) { return impl_->run(inputs); }

}  // namespace bertie
