// A linear layer in int8 becomes quantize_rows of its input and int8_linear: weights by output channel, now; activations by row, at run
// time, or by the scales of a calibration. Layers that read one value share its quantize_rows, and layers of one weight share its integers.
#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "base/error.h"
#include "base/float_element.h"
#include "base/mapped_file.h"
#include "base/thread_pool.h"
#include "passes/pass.h"
#include "quant/int8.h"

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

float element_or(const std::vector<float>& list, size_t i, float otherwise) { return list.empty() ? otherwise : list[i]; }

bool equal(const TensorCalibration& a, const TensorCalibration& b) {
  return a.scale == b.scale && a.migration == b.migration && a.shift == b.shift;
}

class LinearLayers {
 public:
  LinearLayers(Network& network, const PassOptions& options, PassLog& log) : network_(network), options_(options), log_(log) {}

  void quantize(NodeId id) {
    const Node node = network_.node(id);
    const QuantizedInput x = input(node);
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
    const auto depth = static_cast<size_t>(network_.value(node.input(1)).shape[1].size);
    for (const auto* list : {&layer.migration, &layer.shift, &layer.mean}) {
      if (!list->empty() && list->size() != depth) {
        fail(ErrorCode::invalid_argument, "calibration of layer '{}': it is of {} columns; the layer has {}", node.name,
             list->size(), depth);
      }
    }
    return &layer;
  }

  QuantizedInput input(const Node& node) {
    const TensorCalibration* calibration = calibration_of(node);
    std::vector<QuantizedInput>& known = inputs_[node.input(0)];
    for (const QuantizedInput& other : known) {
      const bool same =
          calibration && other.calibration ? equal(*calibration, *other.calibration) : !calibration && !other.calibration;
      // The layer's own calibration still corrects its own bias.
      if (same) return {other.values, other.scales, calibration};
    }
    QuantizedInput result = {kNone, kNone, calibration};
    const std::string name = node.name + ".quantize";
    if (calibration) {
      const int64_t depth = network_.value(node.input(1)).shape[1].size;
      const ValueId quantization = network_.add_constant(name + ".quantization", quantization_of(*calibration, depth));
      result.values = network_.add_node("quantize_rows", {node.input(0), quantization}, {}, name)[0];
      result.scales = network_.add_constant(name + ".scale", Tensor::from_floats({}, std::span(&calibration->scale, 1)));
    } else {
      const auto rows = network_.add_node("quantize_rows", {node.input(0)}, {}, name);
      result.values = rows[0];
      result.scales = rows[1];
    }
    keep_floats(result.values);
    known.push_back(result);
    return result;
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
    const std::span<const float> migration =
        calibration ? std::span<const float>(calibration->migration) : std::span<const float>();
    const Tensor source = *network_.value(id).constant;
    const auto [known, fresh] = weights_.try_emplace({source.data.get(), std::vector<float>(migration.begin(), migration.end())});
    if (!fresh) return known->second;
    const std::string name = network_.value(id).name;
    const Tensor rows = source.row_major();
    const int64_t n = rows.shape[0], k = rows.shape[1];
    std::shared_ptr<int8_t[]> values(new int8_t[static_cast<size_t>(n * k)]);
    std::vector<float> scales(static_cast<size_t>(n));
    for_rows(rows, !migration.empty(), [&](int64_t r, std::span<float> row) {
      for (size_t i = 0; i < migration.size(); ++i) row[i] *= migration[i];
      scales[static_cast<size_t>(r)] = quantize_int8(row, values.get() + r * k);
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
  std::map<std::pair<const void*, std::vector<float>>, Integers> weights_;
  std::optional<ThreadPool> pool_;
  std::vector<std::string> by_row_, fixed_;
};

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
  for (const NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (node.op == "linear" && node.text("precision", "fp32") == "int8") layers.quantize(id);
  }
  layers.finish();
}

size_t hold_eight_bits(Network& network, const PassOptions& options) {
  for (const char* pass : {"assign_precision", "quantize_linear_layers"}) {
    if (std::find(options.disabled.begin(), options.disabled.end(), pass) != options.disabled.end()) return 0;
  }
  PassReport report;
  PassLog log(report);
  assign_precision(network, options, log);
  quantize_linear_layers(network, options, log);
  const auto order = network.order();
  const auto held = std::count_if(order.begin(), order.end(), [&](NodeId id) { return network.node(id).op == "int8_linear"; });
  for (const NodeId id : order) {
    Node& node = network.mutable_node(id);
    if (node.op != "attention" || node.text("precision", "fp32") != "int8") node.attributes.erase("precision");
    // Beside layers in eight bits the others stay in float32, also where a run asks for eight.
    if (held > 0 && node.op == "linear") node.attributes["precision"] = std::string("fp32");
  }
  network.verify();
  return static_cast<size_t>(held);
}

}  // namespace bertie
