// A linear layer in int8 becomes quantize_rows of its input and int8_linear: weights by output channel, now; activations by row, at run
// time, or by the scales of a calibration or of the file (fake_quantize). Layers that read one value share its quantize_rows, and layers of
// one weight share its integers. Where a layer is computed otherwise, what the file says of its input is dropped.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <span>
#include <tuple>

#include "base/error.h"
#include "base/float_element.h"
#include "base/mapped_file.h"
#include "base/thread_pool.h"
#include "network/element.h"
#include "network/op.h"
#include "passes/pass.h"
#include "quant/int8_weights.h"

namespace bertie {
namespace {

struct Integers {
  ValueId values, scales;
};

// x [..., K] of a layer, quantised.
struct QuantizedInput {
  ValueId values, scales;
  const TensorCalibration* calibration;  // nullptr: by row
};

// What a layer reads, and how that becomes integers.
struct Input {
  ValueId x;
  const TensorCalibration* calibration = nullptr;  // by row
  Tensor quantization;                             // [2, K], with a calibration
};

float element_or(const std::vector<float>& list, size_t i, float otherwise) { return list.empty() ? otherwise : list[i]; }

bool equal(const TensorCalibration& a, const TensorCalibration& b) {
  return a.scale == b.scale && a.migration == b.migration && a.shift == b.shift;
}

bool equal(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.data.get(), b.data.get(), a.bytes()) == 0;
}

class LinearLayers {
 public:
  LinearLayers(Network& network, const PassOptions& options, PassLog& log) : network_(network), options_(options), log_(log) {}

  void quantize(NodeId id) {
    const Node node = network_.node(id);
    const QuantizedInput x = quantized(node, input(node));
    const Integers weight = this->weight(node.input(1), x.calibration);
    const ValueId bias = x.calibration ? this->bias(node, weight, *x.calibration) : node.input(2);
    Attributes attributes = node.attributes;
    attributes.erase("precision");
    network_.erase_node(id);
    const auto product = network_.add_node("int8_linear", {x.values, x.scales, weight.values, weight.scales, bias},
                                           std::move(attributes), node.name);
    keep_floats(product[0]);
    network_.replace_uses(node.outputs[0], product[0]);
    (x.calibration ? fixed_ : by_row_).push_back(node.name);
  }
  void finish() const {
    log_.matched_each("int8", by_row_);
    log_.matched_each("int8 by fixed scales", fixed_);
  }

 private:
  const TensorCalibration* calibration_of(const Node& node) {
    if (!options_.calibration) return nullptr;
    const auto found = options_.calibration->layers.find(node.name);
    if (found == options_.calibration->layers.end()) {
      log_.refused("{}: the calibration has no such layer: its rows' scales are found at run time", node.name);
      return nullptr;
    }
    const TensorCalibration& layer = found->second;
    const SymbolicShape& weight = network_.value(node.input(1)).shape;
    const auto depth = static_cast<size_t>(weight[1].size);
    for (const auto* list : {&layer.migration, &layer.shift, &layer.mean}) {
      if (!list->empty() && list->size() != depth) {
        fail(ErrorCode::invalid_argument, "calibration of layer '{}': it is of {} columns; the layer has {}", node.name,
             list->size(), depth);
      }
    }
    const auto& others = layer.other_neighbours;
    const auto beyond = [&](const std::vector<int32_t>& columns) {
      return std::any_of(columns.begin(), columns.end(), [&](int32_t k) { return k < 0 || static_cast<size_t>(k) >= depth; });
    };
    if (!others.empty() &&
        (others.size() != static_cast<size_t>(weight[0].size) || std::any_of(others.begin(), others.end(), beyond)))
      fail(ErrorCode::invalid_argument, "calibration of layer '{}': its other_neighbours are not of {} rows of {} columns",
           node.name, weight[0].size, depth);
    return &layer;
  }

  int64_t depth_of(const Node& node) const { return network_.value(node.input(1)).shape[1].size; }

  Input input(const Node& node) {
    const Node* fake = producer(network_, node.input(0));
    if (fake && fake->op == "fake_quantize") return input_by_file(*fake, depth_of(node));
    Input result{node.input(0), calibration_of(node), {}};
    if (result.calibration) result.quantization = quantization_of(*result.calibration, depth_of(node));
    return result;
  }

  // The elements of a constant by column; nothing where it is none.
  std::optional<std::vector<double>> columns_of(ValueId id, int64_t depth) const {
    const auto& constant = network_.value(id).constant;
    if (!constant || !is_float(constant->dtype)) return std::nullopt;
    const int64_t count = constant->shape.elements();
    if (count != 1 && (count != depth || constant->shape.back() != depth)) return std::nullopt;
    std::vector<double> columns;
    for (int64_t k = 0; k < depth; ++k) columns.push_back(element(constant->view(), count == 1 ? 0 : k));
    return columns;
  }

  // `function`(x, constants by column) -> x and the constants; nothing where `value` is made otherwise.
  std::optional<std::pair<ValueId, std::vector<double>>> by_column(ValueId value, std::string_view function,
                                                                   int64_t depth) const {
    const Node* node = producer(network_, value);
    if (!node || node->op != "elementwise" || node->text("function") != function) return std::nullopt;
    for (const size_t x : {0, 1}) {
      const Value& other = network_.value(node->input(x));
      if (other.constant || !(other.shape == network_.value(value).shape)) continue;
      if (auto columns = columns_of(node->input(1 - x), depth)) return std::pair(node->input(x), std::move(*columns));
    }
    return std::nullopt;
  }

  // By the scale s and the zero point z of a file: x ~= s (q - z). Of its 256 levels bertie has 255: the highest is held at the next, for many
  // of GELU's results lie at the lowest. So u8 levels less 127 are integers about s (127 - z), i8 levels one more about s (-1 - z), but for
  // those about 0, which have their ends at 127. What is done by column in front of it (a migration and a shift, as bertie exports them)
  // becomes part of the quantisation.
  Input input_by_file(const Node& fake, int64_t depth) {
    Input result{fake.input(0), nullptr, {}};
    if (fake.input(1) == kNone) return result;
    const Value& zero_point = network_.value(fake.input(2));
    const double scale = element(network_.value(fake.input(1)).constant->view(), 0);
    const double zero = element(zero_point.constant->view(), 0);
    const double offset = zero_point.dtype == DType::u8 ? zero - 127 : zero == 0 ? 0 : zero + 1;
    std::vector<double> factors(static_cast<size_t>(depth), 1), terms(static_cast<size_t>(depth), 0);
    if (auto added = by_column(result.x, "add", depth)) std::tie(result.x, terms) = *added;
    if (auto multiplied = by_column(result.x, "mul", depth)) std::tie(result.x, factors) = *multiplied;
    std::vector<float> numbers;
    for (const double factor : factors) numbers.push_back(static_cast<float>(factor / scale));
    for (const double term : terms) numbers.push_back(static_cast<float>(term / scale + offset));
    result.quantization = Tensor::from_floats({2, depth}, numbers);
    TensorCalibration& made = of_file_.emplace_back();
    made.scale = static_cast<float>(scale);
    if (offset != 0) made.shift.assign(static_cast<size_t>(depth), static_cast<float>(-scale * offset));
    result.calibration = &made;
    return result;
  }

  QuantizedInput quantized(const Node& node, const Input& input) {
    std::vector<QuantizedInput>& known = inputs_[input.x];
    for (const QuantizedInput& other : known) {
      const bool same = input.calibration && other.calibration
                            ? equal(*input.calibration, *other.calibration) && equal(input.quantization, quantization(other))
                            : !input.calibration && !other.calibration;
      // The layer's own calibration still corrects its own bias.
      if (same) return {other.values, other.scales, input.calibration};
    }
    QuantizedInput result = {kNone, kNone, input.calibration};
    const std::string name = node.name + ".quantize";
    if (input.calibration) {
      const ValueId quantization = network_.add_constant(name + ".quantization", input.quantization);
      result.values = network_.add_node("quantize_rows", {input.x, quantization}, {}, name)[0];
      result.scales = network_.add_constant(name + ".scale", Tensor::from_floats({}, std::span(&input.calibration->scale, 1)));
    } else {
      const auto rows = network_.add_node("quantize_rows", {input.x}, {}, name);
      result.values = rows[0];
      result.scales = rows[1];
    }
    keep_floats(result.values);
    known.push_back(result);
    return result;
  }

  // [2, K] of what was quantised by fixed scales.
  const Tensor& quantization(const QuantizedInput& input) const {
    return *network_.value(producer(network_, input.values)->input(1)).constant;
  }

  // Floats that the producer of `value` reads or gives are as those around it.
  void keep_floats(ValueId value) {
    const std::string& precision = options_.beside_linear_layers();
    if (precision != "fp32") network_.mutable_node(network_.value(value).producer).attributes["precision"] = precision;
  }

  static Tensor quantization_of(const TensorCalibration& layer, int64_t depth) {
    std::vector<float> numbers(static_cast<size_t>(2 * depth));
    for (size_t k = 0; k < numbers.size() / 2; ++k) {
      const double inverse = 1 / (static_cast<double>(layer.scale) * element_or(layer.migration, k, 1));
      numbers[k] = static_cast<float>(inverse);
      numbers[numbers.size() / 2 + k] = static_cast<float>(-element_or(layer.shift, k, 0) * inverse);
    }
    return Tensor::from_floats({2, depth}, numbers);
  }

  // Columns times the migration, then rows as integers.
  Integers weight(ValueId id, const TensorCalibration* calibration) {
    static const TensorCalibration kNothing;
    const std::vector<float>& migration = (calibration ? *calibration : kNothing).migration;
    const std::vector<std::vector<int32_t>>& others = (calibration ? *calibration : kNothing).other_neighbours;
    const Tensor source = *network_.value(id).constant;
    const auto [known, fresh] = weights_.try_emplace({source.data.get(), migration, others});
    if (!fresh) return known->second;
    const std::string name = network_.value(id).name;
    const Tensor rows = source.row_major();
    const int64_t n = rows.shape[0], k = rows.shape[1];
    std::shared_ptr<int8_t[]> values(new int8_t[static_cast<size_t>(n * k)]);
    std::vector<float> scales(static_cast<size_t>(n));
    for_rows(rows, !migration.empty(), [&](int64_t r, std::span<float> row) {
      for (size_t i = 0; i < migration.size(); ++i) row[i] *= migration[i];
      const auto n_th = static_cast<size_t>(r);
      int8_t* to = values.get() + r * k;
      scales[n_th] = others.empty() ? quantize_int8_weights(row, to) : quantize_int8(row, others[n_th], to);
    });
    release_resident(source.data.get(), source.bytes());
    known->second = {
        network_.add_constant(name + ".int8", {DType::i8, rows.shape, std::shared_ptr<const void>(values, values.get())}),
        network_.add_constant(name + ".scales", Tensor::from_floats({n}, scales))};
    return known->second;
  }

  // What the shift takes out of the product, and what the rounding of the weights takes out of it on the mean of x.
  ValueId bias(const Node& node, const Integers& weight, const TensorCalibration& layer) {
    if (layer.shift.empty() && layer.mean.empty()) return node.input(2);
    const Tensor rows = network_.value(node.input(1)).constant->row_major();
    const int64_t n = rows.shape[0], k = rows.shape[1];
    std::vector<float> sums(static_cast<size_t>(n));
    const TensorView before = node.input(2) == kNone ? TensorView{} : network_.value(node.input(2)).constant->view();
    const int8_t* values = network_.value(weight.values).constant->view().as<int8_t>();
    const float* scales = network_.value(weight.scales).constant->view().as<float>();
    for_rows(rows, false, [&](int64_t r, std::span<const float> row) {
      double sum = before.data ? float_element(before, static_cast<size_t>(r)) : 0;
      for (size_t i = 0; i < row.size(); ++i) {
        const double shift = element_or(layer.shift, i, 0), w = row[i];
        sum += w * shift;
        if (layer.mean.empty()) continue;
        const double kept =
            values[r * k + static_cast<int64_t>(i)] * static_cast<double>(scales[r]) / element_or(layer.migration, i, 1);
        sum += (w - kept) * (layer.mean[i] - shift);
      }
      sums[static_cast<size_t>(r)] = static_cast<float>(sum);
    });
    return network_.add_constant(node.name + ".bias.calibrated", Tensor::from_floats({n}, sums));
  }

  // body(row, floats [K]) on all threads; the floats are a copy where they are to be changed.
  template <typename Body>
  void for_rows(const Tensor& rows, bool changed, Body body) {
    if (!pool_) pool_.emplace(0);
    constexpr int64_t kRowsAtOnce = 32;
    const int64_t n = rows.shape[0], k = rows.shape[1];
    const TensorView view = rows.view();
    const bool copied = changed || view.dtype != DType::f32;
    pool_->parallel_for((n + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t task, int) {
      std::vector<float> copy(copied ? static_cast<size_t>(k) : 0);
      for (int64_t r = task * kRowsAtOnce; r < std::min(n, (task + 1) * kRowsAtOnce); ++r) {
        for (size_t i = 0; i < copy.size(); ++i) copy[i] = float_element(view, static_cast<size_t>(r * k) + i);
        // Not written to where it is no copy.
        float* row = copied ? copy.data() : const_cast<float*>(view.as<float>()) + r * k;
        body(r, std::span<float>(row, static_cast<size_t>(k)));
      }
    });
  }

  Network& network_;
  const PassOptions& options_;
  PassLog& log_;
  std::map<ValueId, std::vector<QuantizedInput>> inputs_;  // by x
  std::deque<TensorCalibration> of_file_;
  // By the weight, its migration and its other neighbours.
  std::map<std::tuple<const void*, std::vector<float>, std::vector<std::vector<int32_t>>>, Integers> weights_;
  std::optional<ThreadPool> pool_;
  std::vector<std::string> by_row_, fixed_;
};

bool is_int8(const Node& node) { return node.op == "linear" && node.text("precision", "fp32") == "int8"; }

// Of layers that are not computed in eight bits, and of all beside a calibration: that has scales of its own.
void drop_fake_quantize(Network& network, const PassOptions& options, PassLog& log) {
  std::vector<std::string> dropped;
  for (const NodeId id : network.order()) {
    const Node fake = network.node(id);
    if (fake.op != "fake_quantize") continue;
    for (const NodeId reader : network.consumers(fake.outputs[0])) {
      Node& node = network.mutable_node(reader);
      if (is_int8(node) && !options.calibration) continue;
      std::replace(node.inputs.begin(), node.inputs.end(), fake.outputs[0], fake.input(0));
      dropped.push_back(node.name);
    }
    network.replace_output(fake.outputs[0], fake.input(0));
  }
  log.matched_each("the file's quantisation of its input dropped", dropped);
}

}  // namespace

void quantize_linear_layers(Network& network, const PassOptions& options, PassLog& log) {
  LinearLayers layers(network, options, log);
  const auto order = network.order();
  if (options.calibration &&
      std::any_of(order.begin(), order.end(), [&](NodeId id) { return network.node(id).op == "int8_linear"; })) {
    fail(ErrorCode::invalid_argument,
         "the network's linear layers are in eight bits already, with their scales: a calibration is for what they were made "
         "from");
  }
  drop_fake_quantize(network, options, log);
  for (const NodeId id : network.order()) {
    if (is_int8(network.node(id))) layers.quantize(id);
  }
  layers.finish();
  network.remove_dead_nodes();
}

size_t hold_precisions(Network& network, const PassOptions& options) {
  for (const char* pass : {"assign_precision", "quantize_linear_layers"}) {
    if (std::find(options.disabled.begin(), options.disabled.end(), pass) != options.disabled.end()) return 0;
  }
  PassReport report;
  PassLog log(report);
  assign_precision(network, options, log);
  quantize_linear_layers(network, options, log);
  const auto& linear_only = options.linear_only;
  const bool holds_bf16 = std::find(linear_only.begin(), linear_only.end(), "bf16") != linear_only.end();
  const auto in_bf16 = [&](const Node& node) {
    return holds_bf16 && node.op == "linear" && node.text("precision", "fp32") == "bf16";
  };
  const auto order = network.order();
  const auto held = std::count_if(order.begin(), order.end(),
                                  [&](NodeId id) { return network.node(id).op == "int8_linear" || in_bf16(network.node(id)); });
  for (const NodeId id : order) {
    Node& node = network.mutable_node(id);
    const bool bf16 = in_bf16(node);
    node.attributes.erase("precision");
    // Beside layers that are held the others stay in float32, also where a run asks otherwise.
    if (held > 0 && node.op == "linear") node.attributes["precision"] = std::string(bf16 ? "bf16" : "fp32");
  }
  network.verify();
  return static_cast<size_t>(held);
}

}  // namespace bertie
