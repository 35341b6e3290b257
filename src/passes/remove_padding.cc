// [batch, sequence, ...] becomes packed [tokens, ...] wherever that can be proved to change nothing: then no padded row is computed.
//
// From the outputs backwards it is found for each value whether its padded rows can reach anything that counts (docs/design/padding.md).
// Where they can, the value and all that its padded rows are made from stay padded; pack_rows leads from there to what is packed. A
// network without attention mask has no padded rows: all of it may be packed.
#include <algorithm>
#include <map>
#include <set>

#include "network/op.h"
#include "passes/pass.h"
#include "passes/row_rules.h"

namespace bertie {
namespace {

class PaddingRemoval {
 public:
  PaddingRemoval(Network& network, PassLog& log)
      : network_(network), log_(log), mask_(network.input_of(InputRole::attention_mask)), order_(network.order()) {}

  void run() {
    if (std::none_of(network_.inputs().begin(), network_.inputs().end(),
                     [&](ValueId input) { return has_rows(network_, input); }))
      return;
    analyse();
    if (packs_.empty()) return;
    read_extents_elsewhere();
    const std::vector<ValueId> inputs = packed_inputs();
    for (ValueId input : inputs) forms_[input] = input;
    for (NodeId id : order_) {
      if (const auto rule = packs_.find(id); rule != packs_.end()) pack(id, rule->second);
    }
    for (ValueId input : inputs) declare_packed(input);
    network_.remove_dead_nodes();
    network_.infer_shapes();
    log_.matched("{} of {} nodes from [batch, sequence] to [tokens]", packs_.size(), order_.size());
  }

 private:
  void need_all_rows(ValueId value) {
    if (value != kNone && has_rows(network_, value)) whole_.insert(value);
  }

  bool has_known_width(ValueId value) const {
    const SymbolicShape& shape = network_.value(value).shape;
    return std::all_of(shape.begin() + 2, shape.end(), [](const Dim& dim) { return dim.is_fixed(); });
  }

  void analyse() {
    // Outputs that are not the encoder's hold their padded rows too: masks, ids, what is made of them alone.
    for (const Network::Output& output : network_.outputs()) {
      if (!comes_from_encoder(network_, output.value)) need_all_rows(output.value);
    }
    for (size_t i = order_.size(); i-- > 0;) {
      const Node& node = network_.node(order_[i]);
      const auto reads_rows = [&](ValueId input) { return input != kNone && has_rows(network_, input); };
      if (std::none_of(node.inputs.begin(), node.inputs.end(), reads_rows)) continue;
      if (node.op == "shape" && has_known_width(node.input(0))) continue;  // extents alone
      RowRule rule = row_rule(network_, node, mask_);
      const bool wanted_whole =
          std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId out) { return whole_.contains(out); });
      if (rule.obstacle.empty() && !wanted_whole) {
        packs_[order_[i]] = std::move(rule);
        continue;
      }
      for (ValueId input : node.inputs) need_all_rows(input);
      // Of a chain that runs padded only its cause is told, and not what merely reads a mask or ids.
      if (!rule.obstacle.empty() && std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
            return input != kNone && has_rows(network_, input) && is_float(network_.value(input).dtype) && input != mask_;
          })) {
        log_.refused("{} '{}' runs padded, and so does what its padded rows are made from: {}", node.op, node.name,
                     rule.obstacle);
      }
    }
  }

  // A packed value's padded extents are read from a value that stays padded.
  void read_extents_elsewhere() {
    std::vector<NodeId> readers;
    for (NodeId id : order_) {
      const Node& node = network_.node(id);
      if (node.op == "shape" && has_rows(network_, node.input(0)) && !whole_.contains(node.input(0))) readers.push_back(id);
    }
    if (readers.empty()) return;
    ValueId keeper = kNone;
    for (ValueId input : network_.inputs()) {
      if (has_rows(network_, input) && (keeper == kNone || input == mask_)) keeper = input;
    }
    whole_.insert(keeper);
    for (NodeId id : readers) {
      if (network_.node(id).input(0) != keeper) read_extents(id, keeper);
    }
  }

  // Shape(x) of [batch, sequence, rest...] is Shape of the extents' keeper, then the rest's numbers.
  void read_extents(NodeId id, ValueId keeper) {
    const Node node = network_.node(id);
    const SymbolicShape shape = network_.value(node.input(0)).shape;
    const auto place = [&](int64_t axis) {
      const auto rank = static_cast<int64_t>(shape.size());
      return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
    };
    const int64_t start = place(node.integer("start", 0));
    const int64_t end = place(node.integer("end", static_cast<int64_t>(shape.size())));
    std::vector<ValueId> parts;
    if (start < 2) {
      parts.push_back(network_.add_node("shape", {keeper}, {{"start", start}, {"end", std::min<int64_t>(end, 2)}},
                                        node.name + ".extents")[0]);
    }
    std::vector<int64_t> rest;
    for (int64_t axis = std::max<int64_t>(start, 2); axis < end; ++axis) rest.push_back(shape[static_cast<size_t>(axis)].size);
    if (!rest.empty() || parts.empty()) parts.push_back(network_.add_integers(rest));
    const ValueId whole = parts.size() == 1 ? parts[0] : network_.add_concat(parts, 0, node.name + ".whole");
    network_.replace_uses(node.outputs[0], whole);
    network_.erase_node(id);
  }

  // Inputs whose padded rows nobody needs. The mask stays what the caller gives, though perhaps no node reads it.
  std::vector<ValueId> packed_inputs() const {
    std::vector<ValueId> inputs;
    for (ValueId input : network_.inputs()) {
      if (input != mask_ && has_rows(network_, input) && !whole_.contains(input)) inputs.push_back(input);
    }
    return inputs;
  }

  // Ids are i32 in a batch; who does not look them up in a table still reads them as they were.
  void declare_packed(ValueId input) {
    Value& value = network_.mutable_value(input);
    value.shape.erase(value.shape.begin());
    value.shape[0] = Dim("tokens");
    if (value.role == InputRole::none || value.dtype != DType::i64) return;
    value.dtype = DType::i32;
    ValueId wide = kNone;
    for (NodeId id : network_.consumers(input)) {
      if (network_.node(id).op == "embedding" || network_.node(id).op == "embedding_layer_norm") continue;
      if (wide == kNone)
        wide = network_.add_node("cast", {input}, {{"to", std::string("i64")}}, network_.value(input).name + ".wide")[0];
      auto& inputs = network_.mutable_node(id).inputs;
      std::replace(inputs.begin(), inputs.end(), input, wide);
    }
  }

  void pack(NodeId id, const RowRule& rule) {
    pack_node(network_, id, rule,
              [&](ValueId input, RowUse use) { return use == RowUse::as_it_is ? input : packed_form(input); });
    for (ValueId output : network_.node(id).outputs) {
      if (has_rows(network_, output)) forms_[output] = output;
    }
  }

  // The value by rows: itself where it is made packed.
  ValueId packed_form(ValueId value) {
    const auto [found, fresh] = forms_.try_emplace(value, kNone);
    if (!fresh) return found->second;
    const Value source = network_.value(value);
    const bool ones = source.shape.size() >= 2 && source.shape[0] == Dim(1) && source.shape[1] == Dim(1);
    if (source.constant && ones) {  // the same for all rows
      Tensor tensor = *source.constant;
      const std::vector<int64_t> extents(tensor.shape.begin() + 1, tensor.shape.end());
      tensor.shape = Shape(std::span<const int64_t>(extents));
      return forms_[value] = network_.add_constant(source.name + ".packed", std::move(tensor));
    }
    ValueId rows = value;
    if (source.shape[0] == Dim("sequence")) {
      const int64_t front = 0;
      rows = network_.add_node("unsqueeze", {value, network_.add_integers({&front, 1})}, {}, source.name + ".rows")[0];
    }
    return forms_[value] = network_.add_node("pack_rows", {rows}, {}, source.name + ".packed")[0];
  }

  Network& network_;
  PassLog& log_;
  ValueId mask_;
  std::vector<NodeId> order_;
  std::set<ValueId> whole_;           // values whose padded rows count
  std::map<NodeId, RowRule> packs_;   // nodes that work on packed rows
  std::map<ValueId, ValueId> forms_;  // packed forms
};

}  // namespace

void remove_padding(Network& network, const PassOptions&, PassLog& log) { PaddingRemoval(network, log).run(); }

}  // namespace bertie
