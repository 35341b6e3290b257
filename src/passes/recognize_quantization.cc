// What a file says of eight bits is kept where bertie computes in them: in front of a product by a constant stands fake_quantize, made of
// QuantizeLinear and DequantizeLinear (one scale that is known), or of DynamicQuantizeLinear and MatMulInteger (each row's own range). Around
// all else pairs are dropped: what lies between the products is computed in floats. Weights become the floats that they stand for.
#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "network/op.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace bertie {
namespace {

// How floats become eight-bit integers.
struct Range {
  float scale = 0;
  int64_t zero_point = 0;
  DType dtype = DType::u8;
  auto operator<=>(const Range&) const = default;
};

class Quantization {
 public:
  Quantization(Network& network, PassLog& log) : network_(network), log_(log) {}

  void run() {
    for (const NodeId id : network_.order()) integer_product(id);
    for (const NodeId id : network_.order()) table(id);
    for (const NodeId id : network_.order()) product(id);
    network_.remove_dead_nodes();  // of products, so that none is said to be left
    for (const NodeId id : network_.order()) pair(id);
    network_.remove_dead_nodes();
    log_.matched_each("its input by the file's scale", fixed_);
    log_.matched_each("its input by the range of each row", by_row_);
    log_.matched_each("rows of a table in eight bits: a table of floats", tables_);
    for (const auto& [op, names] : dropped_) log_.matched_each(fmt::format("dropped, for {} is computed in floats", op), names);
    for (const auto& [reason, count] : kept_)
      log_.refused("{} quantisations run as they are, the first '{}': {}", count.second, count.first, reason);
  }

 private:
  const Node* producer(ValueId value) const { return bertie::producer(network_, value); }
  bool is_bytes(ValueId value) const {
    return network_.value(value).dtype == DType::i8 || network_.value(value).dtype == DType::u8;
  }

  // The one range by which `node`, quantize_linear or dequantize_linear, works; nothing, and why, where it is anything else.
  std::optional<Range> range_of(const Node& node, std::string& why) const {
    if (network_.value(node.input(1)).shape.size() > 1 || network_.value(node.input(1)).shape == SymbolicShape{Dim(0)}) {
      why = "its scales are of blocks";
      return std::nullopt;
    }
    if (!is_constant(network_, node.input(1)) || (node.input(2) != kNone && !is_constant(network_, node.input(2)))) {
      why = "its scale is not a constant";
      return std::nullopt;
    }
    const auto scale = scalar(network_, node.input(1));
    const auto zero_point = node.input(2) == kNone ? std::optional(0.0) : scalar(network_, node.input(2));
    if (!scale || !zero_point) {
      why = "it has a scale for each channel";
      return std::nullopt;
    }
    const ValueId integers = node.op == "quantize_linear" ? node.outputs[0] : node.input(0);
    const Range range{static_cast<float>(*scale), static_cast<int64_t>(*zero_point), network_.value(integers).dtype};
    if (!(range.scale > 0) || !std::isfinite(range.scale)) {
      why = "its scale is not above 0";
      return std::nullopt;
    }
    return range;
  }

  struct Pair {
    ValueId x;
    Range range;
  };
  // What a dequantize_linear makes of a quantize_linear's integers by the same range.
  std::optional<Pair> pair_of(const Node& dequantize, std::string& why) const {
    const Node* quantize = producer(dequantize.input(0));
    if (!quantize || quantize->op != "quantize_linear") {
      why = "its integers are not those of a QuantizeLinear";
      return std::nullopt;
    }
    const auto range = range_of(dequantize, why), other = range_of(*quantize, why);
    if (!range || !other) return std::nullopt;
    if (*range != *other) {
      why = "QuantizeLinear and DequantizeLinear have different scales";
      return std::nullopt;
    }
    if (!is_float(network_.value(quantize->input(0)).dtype)) {
      why = "it quantises integers";
      return std::nullopt;
    }
    return Pair{quantize->input(0), *range};
  }

  ValueId fake_quantize(ValueId x, const std::optional<Range>& range, const std::string& name) {
    const auto [known, fresh] = fakes_.try_emplace({x, range}, kNone);
    if (!fresh) return known->second;
    std::vector<ValueId> inputs = {x};
    if (range) {
      inputs.push_back(network_.add_constant(name + ".scale", Tensor::from_floats({}, std::span(&range->scale, 1))));
      const auto zero = std::make_shared<uint8_t>(static_cast<uint8_t>(range->zero_point));
      inputs.push_back(
          network_.add_constant(name + ".zero_point", {range->dtype, {}, std::shared_ptr<const void>(zero, zero.get())}));
    }
    return known->second = network_.add_node("fake_quantize", inputs, {}, name)[0];
  }

  bool is_matrix(ValueId value) const {
    const Node* transpose = producer(value);
    if (transpose && transpose->op == "transpose") value = transpose->input(0);
    return is_constant(network_, value) && network_.value(value).shape.size() == 2 && is_float(network_.value(value).dtype);
  }

  // Elements stay what they are, so that a pair in front of it may as well stand behind it.
  static bool only_moves(const Node& node) {
    return node.op == "reshape" || node.op == "transpose" || node.op == "squeeze" || node.op == "unsqueeze" ||
           node.op == "slice" || node.op == "split" || node.op == "gather" || node.op == "expand" ||
           is_function(&node, "unary", "identity");
  }

  // A pair in front of a product by a constant, or in front of what only moves its elements on their way there.
  void product(NodeId id) {
    const Node node = network_.node(id);
    if ((node.op != "matmul" && node.op != "linear") || !is_matrix(node.input(1)) || network_.value(node.input(0)).shape.empty())
      return;
    ValueId value = node.input(0);
    const Node* maker = producer(value);
    while (maker && only_moves(*maker)) {
      value = maker->input(0);
      maker = producer(value);
    }
    std::string why;
    if (!maker || maker->op != "dequantize_linear") return;
    const auto pair = pair_of(*maker, why);
    if (!pair) return;
    // Behind the pair itself the floats before it are read.
    const ValueId x = value == node.input(0) ? pair->x : node.input(0);
    const ValueId fake = fake_quantize(x, pair->range, node.name + ".input");
    network_.mutable_node(id).inputs[0] = fake;
    fixed_.push_back(node.name);
  }

  void pair(NodeId id) {
    const Node node = network_.node(id);
    if (node.op == "dynamic_quantize_linear" || node.op == "matmul_integer")
      return keep(node, "it is not scaled as a product by a constant is");
    if (node.op != "dequantize_linear") return;
    std::string why;
    const auto pair = pair_of(node, why);
    if (!pair) return keep(node, why);
    const auto readers = network_.consumers(node.outputs[0]);
    if (!readers.empty()) dropped_[network_.node(readers[0]).op].push_back(node.name);
    if (readers.empty() && is_output(network_, node.outputs[0])) dropped_["an output"].push_back(node.name);
    network_.erase_node(id);
    network_.replace_uses(node.outputs[0], pair->x);
  }

  void keep(const Node& node, const std::string& why) {
    auto& [first, count] = kept_[why];
    if (count++ == 0) first = node.name;
  }

  const Node* only_reader(ValueId value) const {
    return has_one_reader(network_, value) ? &network_.node(network_.consumers(value)[0]) : nullptr;
  }

  // A matrix of integers less their zero points, times their scales: of the tensor, or of each column. kNone where it is none.
  ValueId floats_of(ValueId integers, ValueId zero_points, const std::vector<double>& scales) {
    if (zero_points != kNone && !is_constant(network_, zero_points)) return kNone;
    const auto [known, fresh] = weights_.try_emplace({integers, zero_points, scales}, kNone);
    if (!fresh) return known->second;
    const Tensor& tensor = *network_.value(integers).constant;
    const int64_t rows = tensor.shape[0], columns = tensor.shape[1];
    const std::vector<double> zeros = zero_points == kNone ? std::vector<double>(1, 0) : numbers(zero_points);
    const auto fits = [&](size_t count) { return count == 1 || count == static_cast<size_t>(columns); };
    if (!fits(zeros.size()) || !fits(scales.size())) return kNone;
    const std::shared_ptr<float[]> floats(new float[static_cast<size_t>(rows * columns)]);
    const auto by_column = [&](const std::vector<double>& list) {
      std::vector<float> all(static_cast<size_t>(columns));
      for (size_t c = 0; c < all.size(); ++c) all[c] = static_cast<float>(list[list.size() == 1 ? 0 : c]);
      return all;
    };
    const std::vector<float> zero = by_column(zeros), scale = by_column(scales);
    const auto fill = [&](const auto* bytes) {
      for (int64_t r = 0, i = 0; r < rows; ++r) {
        for (size_t c = 0; c < zero.size(); ++c, ++i) floats[i] = (static_cast<float>(bytes[i]) - zero[c]) * scale[c];
      }
    };
    tensor.dtype == DType::u8 ? fill(tensor.view().as<uint8_t>()) : fill(tensor.view().as<int8_t>());
    const Tensor made{DType::f32, tensor.shape, std::shared_ptr<const void>(floats, floats.get())};
    return known->second = network_.add_constant(network_.value(integers).name, made);
  }

  std::vector<double> numbers(ValueId constant) const {
    const Tensor& tensor = *network_.value(constant).constant;
    std::vector<double> list(static_cast<size_t>(tensor.shape.elements()));
    for (size_t i = 0; i < list.size(); ++i) list[i] = element(tensor.view(), static_cast<int64_t>(i));
    return list;
  }

  // A constant that multiplies columns, or all; nothing where it multiplies otherwise.
  std::optional<std::vector<double>> column_scales(ValueId constant) const {
    const Shape& shape = network_.value(constant).constant->shape;
    if (const int64_t count = shape.elements(); count != 1 && shape.back() != count) return std::nullopt;
    return numbers(constant);
  }

  // What x and the weight's scale are in  float(matmul_integer(quantised x, weight)) * other.
  struct Factors {
    ValueId x;
    std::optional<Range> range;  // nothing: of each row
    std::vector<double> weight_scales;
  };
  std::optional<Factors> factors_of(const Node& product, ValueId other) const {
    const Node* quantize = producer(product.input(0));
    if (!quantize) return std::nullopt;
    if (quantize->op == "dynamic_quantize_linear") {
      const Node* both = producer(other);
      if (product.input(0) != quantize->outputs[0] || product.input(2) != quantize->outputs[2] ||
          !is_function(both, "elementwise", "mul"))
        return std::nullopt;
      const bool first = both->input(0) == quantize->outputs[1];
      const ValueId weight_scale = both->input(first ? 1 : 0);
      if (both->input(first ? 0 : 1) != quantize->outputs[1] || !is_constant(network_, weight_scale)) return std::nullopt;
      auto scales = column_scales(weight_scale);
      return scales ? std::optional(Factors{quantize->input(0), std::nullopt, std::move(*scales)}) : std::nullopt;
    }
    std::string why;
    const auto range = quantize->op == "quantize_linear" ? range_of(*quantize, why) : std::nullopt;
    if (!range || !is_constant(network_, other) || !is_float(network_.value(quantize->input(0)).dtype)) return std::nullopt;
    const auto zero_point = product.input(2) == kNone ? std::optional(0.0) : scalar(network_, product.input(2));
    if (!zero_point || static_cast<int64_t>(*zero_point) != range->zero_point) return std::nullopt;
    auto scales = column_scales(other);
    if (!scales) return std::nullopt;
    Factors factors{quantize->input(0), range, std::move(*scales)};
    for (double& scale : factors.weight_scales) scale /= range->scale;
    return factors;
  }

  // float(matmul_integer(quantised x, weight)) * scales -> matmul(fake_quantize(x), weight in floats)
  void integer_product(NodeId id) {
    const Node product = network_.node(id);
    if (product.op != "matmul_integer" || !is_constant(network_, product.input(1)) || !is_bytes(product.input(1)) ||
        network_.value(product.input(1)).shape.size() != 2)
      return;
    const Node* cast = only_reader(product.outputs[0]);
    if (!cast || cast->op != "cast" || network_.value(cast->outputs[0]).dtype != DType::f32) return;
    const Node* scaled = only_reader(cast->outputs[0]);
    if (!is_function(scaled, "elementwise", "mul")) return;
    const auto factors = factors_of(product, scaled->input(scaled->input(0) == cast->outputs[0] ? 1 : 0));
    if (!factors || network_.value(factors->x).shape.empty()) return;
    const ValueId result = scaled->outputs[0];
    if (!(network_.value(result).shape == network_.value(product.outputs[0]).shape)) return;  // the scale has more axes
    const ValueId weight = floats_of(product.input(1), product.input(3), factors->weight_scales);
    if (weight == kNone) return;
    const ValueId fake = fake_quantize(factors->x, factors->range, product.name + ".input");
    network_.erase_node(id);
    network_.replace_uses(result, network_.add_matmul(fake, weight, product.name));
    (factors->range ? fixed_ : by_row_).push_back(product.name);
  }

  // dequantize_linear(gather(table, ids)) -> gather(floats, ids)
  void table(NodeId id) {
    const Node dequantize = network_.node(id);
    const Node* gather = dequantize.op == "dequantize_linear" ? producer(dequantize.input(0)) : nullptr;
    if (!gather || gather->op != "gather" || !is_constant(network_, gather->input(0)) || !is_bytes(gather->input(0)) ||
        network_.value(gather->input(0)).shape.size() != 2)
      return;
    std::string why;
    const auto range = range_of(dequantize, why);
    if (!range) return;
    const ValueId floats = floats_of(gather->input(0), dequantize.input(2), {range->scale});
    const auto rows = network_.add_node("gather", {floats, gather->input(1)}, gather->attributes, gather->name);
    network_.replace_uses(dequantize.outputs[0], rows[0]);
    tables_.push_back(dequantize.name);
  }

  Network& network_;
  PassLog& log_;
  std::map<std::pair<ValueId, std::optional<Range>>, ValueId> fakes_;
  std::map<std::tuple<ValueId, ValueId, std::vector<double>>, ValueId> weights_;  // by integers, zero points and scales
  std::vector<std::string> fixed_, by_row_, tables_;
  std::map<std::string, std::vector<std::string>> dropped_;      // by the op that reads it
  std::map<std::string, std::pair<std::string, int64_t>> kept_;  // by the reason: the first, how many
};

}  // namespace

void recognize_quantization(Network& network, const PassOptions&, PassLog& log) { Quantization(network, log).run(); }

bool says_eight_bits(const Network& network) {
  std::vector<bool> computed(network.value_count(), false);  // from an input
  for (const ValueId input : network.inputs()) computed[static_cast<size_t>(input)] = true;
  for (const NodeId id : network.order()) {
    const Node& node = network.node(id);
    const bool any = std::any_of(node.inputs.begin(), node.inputs.end(),
                                 [&](ValueId input) { return input != kNone && computed[static_cast<size_t>(input)]; });
    if (any && (node.op == "fake_quantize" || node.op == "int8_linear" || node.op == "matmul_integer" ||
                node.op == "quantize_linear" || node.op == "dynamic_quantize_linear"))
      return true;
    for (const ValueId output : node.outputs) computed[static_cast<size_t>(output)] = any;
  }
  return false;
}

}  // namespace bertie
