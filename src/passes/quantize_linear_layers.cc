// A linear layer in eight bits becomes quantize_rows of its input and int8_linear or fp8_linear: weights by output channel, now; activations by
// row, at run time, or by scales fixed beforehand. Layers that read one value share its quantize_rows, and layers of one weight share its values.
//
// Fixed scales of int8 are a calibration's or the file's (fake_quantize). Those of fp8, whose numbers have exponents of their own, need only keep
// what comes within their range: with a calibration they are of what it lets its integers hold, each channel about its mean; without, of what the
// weights allow (value_bounds.h). Weights in fp8 have the scales that cost their layer least (quant/fp8_weights.h), by what the weights in front of
// it say of the columns that it reads. Where a layer is not computed in int8, what the file says of its input is dropped.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <span>
#include <tuple>

#include "base/error.h"
#include "base/mapped_file.h"
#include "network/eight_bit_linear.h"
#include "network/element.h"
#include "network/op.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/value_bounds.h"
#include "passes/weight_rows.h"
#include "quant/fp8.h"
#include "quant/fp8_weights.h"
#include "quant/int8_weights.h"

namespace bertie {
namespace {

struct EightBits {
  ValueId values, scales;
};

// What a layer reads, and how that becomes eight bits.
struct Input {
  ValueId x;
  const TensorCalibration* fixed = nullptr;  // nullptr: by row
  Tensor quantization;                       // [2, K], by fixed scales
};

// x [..., K] of layers, quantised.
struct QuantizedInput {
  EightBits rows;
  bool fp8;
  Input by;
};

float element_or(const std::vector<float>& list, size_t i, float otherwise) { return list.empty() ? otherwise : list[i]; }

// Whether both make the same eight bits of one x; each layer's own scales still correct its own bias.
bool quantize_alike(const Input& a, const Input& b) {
  if (!a.fixed || !b.fixed) return a.fixed == b.fixed;
  const Tensor &of_a = a.quantization, &of_b = b.quantization;
  return a.fixed->scale == b.fixed->scale && of_a.bytes() == of_b.bytes() &&
         std::memcmp(of_a.data.get(), of_b.data.get(), of_a.bytes()) == 0;
}

// The least power of two by which magnitudes up to `largest` are within what e4m3 holds: of all scales those cost its numbers no rounding.
float fp8_scale(double largest) { return static_cast<float>(std::exp2(std::ceil(std::log2(largest / kFp8Largest)))); }

// As e4m3 takes them: x_k ~= scale * q_k + shift_k. Its steps grow with the magnitude, so that channels are moved to their mean and not to their
// middle, and migrating from one to another gains nothing.
TensorCalibration fp8_calibration(const TensorCalibration& integers, size_t depth) {
  TensorCalibration fixed;
  fixed.shift = integers.mean;
  double largest = 0;
  for (size_t k = 0; k < depth; ++k) {
    const double reach = static_cast<double>(kInt8Largest) * integers.scale * element_or(integers.migration, k, 1);
    const double moved = static_cast<double>(element_or(integers.shift, k, 0)) - element_or(fixed.shift, k, 0);
    largest = std::max(largest, reach + std::abs(moved));
  }
  fixed.scale = fp8_scale(largest);
  return fixed;
}

// How much a layer in fp8 minds each column of its weights to be off, by the columns of what it reads: their second moments, and where `centred`, for
// the bias makes up for what the mean does, their variances. As shares of the largest, so that floats hold them; alike where nothing is known.
std::vector<float> importance_of(const ColumnBounds* x, bool centred, size_t depth) {
  std::vector<float> shares(depth, 1);
  if (!x) return shares;
  std::vector<double> moments = x->variance;
  for (size_t k = 0; k < depth && !centred; ++k) moments[k] += x->mean[k] * x->mean[k];
  const auto finite = [](double moment) { return std::isfinite(moment); };
  const double largest = *std::max_element(moments.begin(), moments.end());
  if (!std::all_of(moments.begin(), moments.end(), finite) || largest == 0) return shares;
  for (size_t k = 0; k < depth; ++k) shares[k] = static_cast<float>(moments[k] / largest);
  return shares;
}

class LinearLayers {
 public:
  LinearLayers(Network& network, const PassOptions& options, PassLog& log) : network_(network), options_(options), log_(log) {
    ValueBounds bounds(network, rows_);
    for (const NodeId id : network.order()) {
      const Node& node = network.node(id);
      if (precision_of(node) != "fp8") continue;
      const ColumnBounds* x = bounds.of(node.input(0));
      const TensorCalibration* calibrated = calibration_of(node);
      if (calibrated) {
        fp8_fixed_[id] = fp8_calibration(*calibrated, depth_of(node));
      } else if (x) {
        // What is rounded to eight bits before may come out a little larger.
        const float scale = fp8_scale(1.125 * *std::max_element(x->largest.begin(), x->largest.end()));
        if (std::isnormal(scale)) fp8_fixed_[id].scale = scale;
      }
      fp8_importance_[id] = importance_of(x, calibrated && !calibrated->mean.empty(), depth_of(node));
    }
  }

  // Which of the eight-bit precisions that the device has the layer is wanted in; "": none.
  std::string precision_of(const Node& node) const {
    const std::string precision = node.op == "linear" ? node.text("precision", "fp32") : "";
    const bool eight_bits = (precision == "int8" || precision == "fp8") && options_.is_linear_only(precision);
    return eight_bits && no_linear(network_, node).empty() ? precision : "";
  }

  // `precision`: precision_of.
  void quantize(NodeId id, const std::string& precision) {
    const Node node = network_.node(id);
    const bool fp8 = precision == "fp8";
    const Input input = this->input(id, fp8);
    const EightBits x = quantized(node, fp8, input), weight = this->weight(id, fp8, input.fixed);
    const ValueId bias = input.fixed ? this->bias(node, weight, fp8, *input.fixed) : node.input(2);
    Attributes attributes = node.attributes;
    attributes.erase("precision");
    network_.erase_node(id);
    const auto product =
        network_.add_node(fp8 ? "fp8_linear" : "int8_linear", {x.values, x.scales, weight.values, weight.scales, bias},
                          std::move(attributes), node.name);
    keep_floats(product[0]);
    network_.replace_uses(node.outputs[0], product[0]);
    quantized_[precision + (input.fixed ? " by fixed scales" : "")].push_back(node.name);
  }
  void finish() const {
    for (const auto& [how, names] : quantized_) log_.matched_each(how, names);
  }

 private:
  size_t depth_of(const Node& node) const { return static_cast<size_t>(network_.value(node.input(1)).shape[1].size); }

  const TensorCalibration* calibration_of(const Node& node) {
    if (!options_.calibration) return nullptr;
    const auto found = options_.calibration->layers.find(node.name);
    if (found == options_.calibration->layers.end()) {
      log_.refused("{}: the calibration has no such layer: its scales are found without", node.name);
      return nullptr;
    }
    const TensorCalibration& layer = found->second;
    const SymbolicShape& weight = network_.value(node.input(1)).shape;
    const size_t depth = depth_of(node);
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

  Input input(NodeId id, bool fp8) {
    const Node& node = network_.node(id);
    const Node* fake = producer(network_, node.input(0));
    if (fake && fake->op == "fake_quantize") return input_by_file(*fake, static_cast<int64_t>(depth_of(node)));
    Input result{node.input(0), nullptr, {}};
    if (!fp8)
      result.fixed = calibration_of(node);
    else if (const auto found = fp8_fixed_.find(id); found != fp8_fixed_.end())
      result.fixed = &found->second;
    if (result.fixed) result.quantization = quantization_of(*result.fixed, depth_of(node));
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
    result.fixed = &made;
    return result;
  }

  EightBits quantized(const Node& node, bool fp8, const Input& input) {
    std::vector<QuantizedInput>& known = inputs_[input.x];
    for (const QuantizedInput& other : known) {
      if (fp8 == other.fp8 && quantize_alike(input, other.by)) return other.rows;
    }
    EightBits result;
    const std::string name = node.name + ".quantize";
    Attributes attributes;
    if (fp8) attributes["quantize_element"] = std::string("e4m3");
    if (input.fixed) {
      const ValueId quantization = network_.add_constant(name + ".quantization", input.quantization);
      result.values = network_.add_node("quantize_rows", {input.x, quantization}, std::move(attributes), name)[0];
      result.scales = network_.add_constant(name + ".scale", Tensor::from_floats({}, std::span(&input.fixed->scale, 1)));
    } else {
      const auto rows = network_.add_node("quantize_rows", {input.x}, std::move(attributes), name);
      result = {rows[0], rows[1]};
    }
    keep_floats(result.values);
    known.push_back({result, fp8, input});
    return result;
  }

  // Floats that the producer of `value` reads or gives are as those around it.
  void keep_floats(ValueId value) {
    const std::string& precision = options_.beside_linear_layers();
    if (precision != "fp32") network_.mutable_node(network_.value(value).producer).attributes["precision"] = precision;
  }

  static Tensor quantization_of(const TensorCalibration& layer, size_t depth) {
    std::vector<float> numbers(2 * depth);
    for (size_t k = 0; k < depth; ++k) {
      const double inverse = 1 / (static_cast<double>(layer.scale) * element_or(layer.migration, k, 1));
      numbers[k] = static_cast<float>(inverse);
      numbers[depth + k] = static_cast<float>(-element_or(layer.shift, k, 0) * inverse + 0.0);  // no zero but 0
    }
    return Tensor::from_floats({2, static_cast<int64_t>(depth)}, numbers);
  }

  // Columns times the migration, then rows in eight bits. `layer`: the node's id.
  EightBits weight(NodeId layer, bool fp8, const TensorCalibration* fixed) {
    static const TensorCalibration kNothing;
    const TensorCalibration& by = fixed ? *fixed : kNothing;
    const std::vector<float>& migration = by.migration;
    const std::vector<std::vector<int32_t>>& others = by.other_neighbours;
    const std::vector<float>& importance = fp8_importance_[layer];  // empty in int8
    const ValueId id = network_.node(layer).input(1);
    const Tensor source = *network_.value(id).constant;
    const auto [known, fresh] =
        weights_.try_emplace({source.data.get(), fp8, migration, others.empty() ? nullptr : &others, importance});
    if (!fresh) return known->second;
    const std::string name = network_.value(id).name;
    const Tensor rows = source.row_major();
    const int64_t n = rows.shape[0], k = rows.shape[1];
    std::shared_ptr<uint8_t[]> values(new uint8_t[static_cast<size_t>(n * k)]);
    std::vector<float> scales(static_cast<size_t>(n));
    rows_.for_each(rows, !migration.empty(), [&](int64_t r, std::span<float> row) {
      for (size_t i = 0; i < migration.size(); ++i) row[i] *= migration[i];
      const auto n_th = static_cast<size_t>(r);
      uint8_t* to = values.get() + r * k;
      auto* integers = reinterpret_cast<int8_t*>(to);
      if (fp8)
        scales[n_th] = quantize_fp8_weights(row, importance, to);
      else
        scales[n_th] = others.empty() ? quantize_int8_weights(row, integers) : quantize_int8(row, others[n_th], integers);
    });
    release_resident(source.data.get(), source.bytes());
    known->second = {network_.add_constant(name + (fp8 ? ".fp8" : ".int8"), {fp8 ? DType::u8 : DType::i8, rows.shape,
                                                                             std::shared_ptr<const void>(values, values.get())}),
                     network_.add_constant(name + ".scales", Tensor::from_floats({n}, scales))};
    return known->second;
  }

  // What the shift takes out of the product, and what the rounding of the weights takes out of it on the mean of x.
  ValueId bias(const Node& node, const EightBits& weight, bool fp8, const TensorCalibration& layer) {
    if (layer.shift.empty() && layer.mean.empty()) return node.input(2);
    const Tensor rows = network_.value(node.input(1)).constant->row_major();
    const int64_t n = rows.shape[0], k = rows.shape[1];
    std::vector<float> sums(static_cast<size_t>(n));
    const TensorView before = node.input(2) == kNone ? TensorView{} : network_.value(node.input(2)).constant->view();
    const TensorView values = network_.value(weight.values).constant->view();
    const float* scales = network_.value(weight.scales).constant->view().as<float>();
    const auto value = [&](int64_t i) {
      return fp8 ? static_cast<double>(fp8_to_float(values.as<uint8_t>()[i])) : static_cast<double>(values.as<int8_t>()[i]);
    };
    rows_.for_each(rows, false, [&](int64_t r, std::span<const float> row) {
      double sum = before.data ? float_element(before, static_cast<size_t>(r)) : 0;
      for (size_t i = 0; i < row.size(); ++i) {
        const double shift = element_or(layer.shift, i, 0), w = row[i];
        sum += w * shift;
        if (layer.mean.empty()) continue;
        const double kept = value(r * k + static_cast<int64_t>(i)) * scales[r] / element_or(layer.migration, i, 1);
        sum += (w - kept) * (layer.mean[i] - shift);
      }
      sums[static_cast<size_t>(r)] = static_cast<float>(sum);
    });
    return network_.add_constant(node.name + ".bias.calibrated", Tensor::from_floats({n}, sums));
  }

  Network& network_;
  const PassOptions& options_;
  PassLog& log_;
  WeightRows rows_;
  std::map<NodeId, TensorCalibration> fp8_fixed_;          // of layers whose scales are fixed
  std::map<NodeId, std::vector<float>> fp8_importance_;    // of all layers in fp8: how much they mind each column
  std::map<ValueId, std::vector<QuantizedInput>> inputs_;  // by x
  std::deque<TensorCalibration> of_file_;
  // By the weight, its migration, whose other neighbours it has and how much its columns matter.
  std::map<std::tuple<const void*, bool, std::vector<float>, const void*, std::vector<float>>, EightBits> weights_;
  std::map<std::string, std::vector<std::string>> quantized_;  // names by how
};

// Of layers that are not computed in int8, and of all beside a calibration, which has scales of its own; and ranges that are computed.
void drop_fake_quantize(Network& network, const PassOptions& options, PassLog& log) {
  std::vector<std::string> dropped;
  for (const NodeId id : network.order()) {
    const Node fake = network.node(id);
    if (fake.op != "fake_quantize") continue;
    const bool known = fake.input(1) == kNone || (is_constant(network, fake.input(1)) && is_constant(network, fake.input(2)));
    for (const NodeId reader : network.consumers(fake.outputs[0])) {
      Node& node = network.mutable_node(reader);
      if (is_linear_in(node, "int8") && known && !options.calibration) continue;
      std::replace(node.inputs.begin(), node.inputs.end(), fake.outputs[0], fake.input(0));
      dropped.push_back(node.name);
    }
    network.replace_output(fake.outputs[0], fake.input(0));
  }
  log.matched_each("the file's quantisation of its input dropped", dropped);
}

}  // namespace

void quantize_linear_layers(Network& network, const PassOptions& options, PassLog& log) {
  const auto order = network.order();
  if (options.calibration &&
      std::any_of(order.begin(), order.end(), [&](NodeId id) { return is_eight_bit_linear(network.node(id)); })) {
    fail(ErrorCode::invalid_argument,
         "the network's linear layers are in eight bits already, with their scales: a calibration is for what they were made "
         "from");
  }
  drop_fake_quantize(network, options, log);
  LinearLayers layers(network, options, log);
  for (const NodeId id : network.order()) {
    if (const std::string precision = layers.precision_of(network.node(id)); !precision.empty()) layers.quantize(id, precision);
  }
  layers.finish();
  network.remove_dead_nodes();
}

size_t hold_precisions(Network& network, const PassOptions& options) {
  if (options.is_disabled("assign_precision") || options.is_disabled("quantize_linear_layers")) return 0;
  PassReport report;
  PassLog log(report);
  assign_precision(network, options, log);
  const auto linear_in = [&](const Node& node, std::string_view precision) {
    return options.is_linear_only(precision) && is_linear_in(node, precision);
  };
  const auto order = network.order();
  const auto held = std::count_if(order.begin(), order.end(), [&](NodeId id) {
    const Node& node = network.node(id);
    return is_eight_bit_linear(node) || linear_in(node, "int8") || linear_in(node, "fp8") || linear_in(node, "bf16");
  });
  if (held > 0) quantize_linear_layers(network, options, log);
  for (const NodeId id : network.order()) {
    Node& node = network.mutable_node(id);
    const bool bf16 = linear_in(node, "bf16");
    if (!is_eight_bit_attention(node)) node.attributes.erase("precision");
    // Beside layers that are held the others stay in float32, also where a run asks otherwise.
    if (held > 0 && node.op == "linear") node.attributes["precision"] = std::string(bf16 ? "bf16" : "fp32");
  }
  // Powers of two for all columns of many layers are the same quantization.
  if (held > 0 && !options.is_disabled("merge_duplicates")) merge_duplicates(network, options, log);
  network.verify();
  return static_cast<size_t>(held);
}

}  // namespace bertie
