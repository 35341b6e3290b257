#include "network/diagram.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace bertie {
namespace {

constexpr BoxKind kKinds[] = {
    {"input", "#f4f5f7", "#6b7280"},      {"output", "#e5e7eb", "#374151"},     {"embedding", "#cdeef0", "#0f8b8d"},
    {"product", "#cfe2fb", "#2563eb"},    {"attention", "#e3d8fb", "#7c3aed"},  {"norm", "#d3f1d9", "#15803d"},
    {"activation", "#fde3c3", "#c2570c"}, {"arithmetic", "#fdf3c0", "#a16207"}, {"layout", "#ececec", "#737373"},
    {"pooling", "#fbd5e5", "#be185d"},    {"quantize", "#f9d0d0", "#b91c1c"},   {"other", "#ffffff", "#111827"},
};

std::string_view kind_of(const Node& node) {
  static constexpr std::pair<std::string_view, std::string_view> kOfOp[] = {
      {"embedding", "embedding"},
      {"embedding_layer_norm", "embedding"},
      {"gather", "embedding"},
      {"fp8_linear", "product"},
      {"int8_linear", "product"},
      {"linear", "product"},
      {"linear_skip_layer_norm", "product"},
      {"matmul", "product"},
      {"matmul_integer", "product"},
      {"attention", "attention"},
      {"softmax", "attention"},
      {"layer_norm", "norm"},
      {"skip_layer_norm", "norm"},
      {"normalize", "norm"},
      {"gelu", "activation"},
      {"unary", "activation"},
      {"clip", "activation"},
      {"elementwise", "arithmetic"},
      {"where", "arithmetic"},
      {"reduce", "arithmetic"},
      {"cumulative_sum", "arithmetic"},
      {"pool", "pooling"},
      {"quantize_linear", "quantize"},
      {"quantize_rows", "quantize"},
      {"fake_quantize", "quantize"},
      {"dequantize_linear", "quantize"},
      {"dynamic_quantize_linear", "quantize"},
      {"cast", "layout"},
      {"concat", "layout"},
      {"constant_of_shape", "layout"},
      {"expand", "layout"},
      {"gather_elements", "layout"},
      {"gather_rows", "layout"},
      {"pack_rows", "layout"},
      {"range", "layout"},
      {"reshape", "layout"},
      {"shape", "layout"},
      {"size", "layout"},
      {"slice", "layout"},
      {"split", "layout"},
      {"squeeze", "layout"},
      {"tile", "layout"},
      {"transpose", "layout"},
      {"unsqueeze", "layout"},
  };
  for (const auto& [op, kind] : kOfOp) {
    if (op == node.op) return kind;
  }
  return "other";
}

// What the op does, in a word or two.
std::string title_of(const Node& node) {
  if (node.op == "elementwise" || node.op == "unary") return node.text("function");
  if (node.op == "reduce") return "reduce " + node.text("function");
  if (node.op == "pool") return "pool " + node.text("mode");
  const std::string activation = node.op.ends_with("linear") ? node.text("activation", "none") : "none";
  return activation == "none" ? node.op : node.op + " + " + activation;
}

// The longest beginning that all names share, up to a '.' or '/' that stands in each of them.
std::string common_prefix(const std::vector<std::string_view>& names) {
  std::string_view prefix = names.front();
  for (std::string_view name : names) {
    const auto differ = std::mismatch(prefix.begin(), prefix.end(), name.begin(), name.end()).first;
    prefix = prefix.substr(0, static_cast<size_t>(differ - prefix.begin()));
  }
  const size_t end = prefix.find_last_of("./");
  return end == std::string_view::npos ? "" : std::string(prefix.substr(0, end));
}

class DiagramMaker {
 public:
  DiagramMaker(const Network& network, std::string title, const std::map<std::string, std::string>& notes)
      : network_(network), notes_(notes), order_(network.order()) {
    diagram_.title = std::move(title);
  }

  Diagram make() {
    for (ValueId id : network_.inputs()) {
      const Value& value = network_.value(id);
      inputs_[id] = add({value.name, "", {std::string(dtype_name(value.dtype)) + " " + to_string(value.shape)}, "input", -1});
    }
    fold();
    for (size_t i = 0; i < order_.size(); ++i) {
      if (place_[i] == i) add_node(i);
    }
    for (const auto& output : network_.outputs()) {
      const int box = add({output.name, "", {to_string(network_.value(output.value).shape)}, "output", -1});
      connect(output.value, box);
    }
    return std::move(diagram_);
  }

 private:
  int add(DiagramBox box) {
    diagram_.boxes.push_back(std::move(box));
    return static_cast<int>(diagram_.boxes.size()) - 1;
  }

  // place_[i]: the node of the order that node i is drawn as.
  void fold() {
    place_.resize(order_.size());
    frame_.assign(order_.size(), -1);
    for (size_t i = 0; i < order_.size(); ++i) place_[i] = i;
    for (const Repetition& repetition : find_repetitions(network_, order_)) {
      const int frame = static_cast<int>(diagram_.frames.size());
      std::vector<std::string> prefixes;
      for (size_t copy : {size_t{0}, repetition.times - 1}) {
        std::vector<std::string_view> names;
        for (size_t i = 0; i < repetition.length; ++i) names.push_back(name_at(repetition.begin + copy * repetition.length + i));
        prefixes.push_back(common_prefix(names));
      }
      diagram_.frames.push_back({static_cast<int64_t>(repetition.times), prefixes[0], prefixes[1]});
      for (size_t i = 0; i < repetition.length * repetition.times; ++i) {
        place_[repetition.begin + i] = repetition.begin + i % repetition.length;
        frame_[repetition.begin + i] = frame;
      }
    }
  }

  std::string_view name_at(size_t place) const { return network_.node(order_[place]).name; }

  void add_node(size_t place) {
    const Node& node = network_.node(order_[place]);
    DiagramBox box{title_of(node), node.name, {}, std::string(kind_of(node)), frame_[place]};
    if (box.frame >= 0) {
      const std::string& prefix = diagram_.frames[static_cast<size_t>(box.frame)].first;
      if (!prefix.empty()) box.name.erase(0, prefix.size() + 1);
    }
    for (ValueId input : node.inputs) {
      if (input == kNone || !network_.value(input).constant) continue;
      const Value& value = network_.value(input);
      // Vectors say little: biases, gains, the numbers of a reshape.
      if (value.shape.size() < 2) continue;
      box.details.push_back(fmt::format("{} {}", dtype_name(value.constant->dtype), to_string(value.shape)));
    }
    const auto note = notes_.find(node.name);
    if (note != notes_.end()) box.details.push_back(note->second);
    if (!node.outputs.empty()) box.details.push_back("\u2192 " + to_string(network_.value(node.outputs[0]).shape));
    const int index = add(std::move(box));
    boxes_[place] = index;
    for (ValueId input : node.inputs) connect(input, index);
  }

  void connect(ValueId from, int to) {
    if (from == kNone) return;
    const NodeId producer = network_.value(from).producer;
    int box = -1;
    if (producer != kNone) {
      const auto place = static_cast<size_t>(std::find(order_.begin(), order_.end(), producer) - order_.begin());
      box = boxes_.at(place_[place]);
    } else if (const auto input = inputs_.find(from); input != inputs_.end()) {
      box = input->second;
    }
    if (box >= 0 && drawn_.emplace(box, to).second) diagram_.arrows.push_back({box, to});
  }

  const Network& network_;
  const std::map<std::string, std::string>& notes_;
  std::vector<NodeId> order_;
  std::vector<size_t> place_;
  std::vector<int> frame_;
  std::map<size_t, int> boxes_;
  std::map<ValueId, int> inputs_;
  std::set<std::pair<int, int>> drawn_;
  Diagram diagram_;
};

}  // namespace

std::span<const BoxKind> box_kinds() { return kKinds; }

const BoxKind& box_kind(std::string_view name) {
  return *std::find_if(std::begin(kKinds), std::end(kKinds) - 1, [&](const BoxKind& kind) { return kind.name == name; });
}

Diagram make_diagram(const Network& network, std::string title, const std::map<std::string, std::string>& notes) {
  return DiagramMaker(network, std::move(title), notes).make();
}

}  // namespace bertie
