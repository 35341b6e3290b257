// Constants of equal bytes become one, and nodes of equal op, attributes and inputs become one: exporters write the same mask, the same
// shape and the same shared weight once a layer.
#include <algorithm>
#include <cstring>
#include <map>

#include "passes/match.h"
#include "passes/pass.h"

namespace bertie {
namespace {

// Equal for equal constants, and cheap for large ones, whose pages should not all be read: 16 samples.
std::string constant_key(const Tensor& tensor) {
  constexpr size_t kSample = 16;
  constexpr size_t kSamples = 16;
  std::string key = fmt::format("{} {} ", dtype_name(tensor.dtype), tensor.shape.to_string());
  const auto* bytes = static_cast<const char*>(tensor.data.get());
  const size_t size = tensor.bytes();
  if (size <= kSample * kSamples) return key.append(bytes, size);
  for (size_t i = 0; i < kSamples; ++i) key.append(bytes + (size - kSample) * i / (kSamples - 1), kSample);
  return key;
}

bool equal(const Tensor& a, const Tensor& b) {
  return a.data == b.data || std::memcmp(a.data.get(), b.data.get(), a.bytes()) == 0;
}

std::vector<std::string> merge_constants(Network& network) {
  std::vector<std::string> merged;
  std::map<std::string, std::vector<ValueId>> known;
  std::map<ValueId, ValueId> replacement;
  std::vector<bool> seen(network.value_count(), false);
  for (NodeId id : network.order()) {
    for (ValueId& input : network.mutable_node(id).inputs) {
      if (input == kNone || !network.value(input).constant) continue;
      const Tensor& tensor = *network.value(input).constant;
      if (!seen[static_cast<size_t>(input)]) {
        seen[static_cast<size_t>(input)] = true;
        auto& candidates = known[constant_key(tensor)];
        const auto same = std::find_if(candidates.begin(), candidates.end(),
                                       [&](ValueId other) { return equal(*network.value(other).constant, tensor); });
        if (same == candidates.end()) {
          candidates.push_back(input);
        } else {
          replacement[input] = *same;
          if (tensor.shape.elements() > 1) merged.push_back(network.value(input).name);
        }
      }
      if (const auto found = replacement.find(input); found != replacement.end()) input = found->second;
    }
  }
  return merged;
}

std::vector<std::string> merge_nodes(Network& network) {
  std::vector<std::string> merged;
  std::map<std::string, NodeId> known;
  for (NodeId id : network.order()) {
    const auto [found, fresh] = known.try_emplace(node_key(network.node(id)), id);
    if (fresh) continue;
    const Node duplicate = network.node(id);
    const std::vector<ValueId> kept = network.node(found->second).outputs;
    for (size_t i = 0; i < duplicate.outputs.size(); ++i) network.replace_uses(duplicate.outputs[i], kept[i]);
    network.erase_node(id);
    merged.push_back(duplicate.name);
  }
  return merged;
}

}  // namespace

void merge_duplicates(Network& network, const PassOptions&, PassLog& log) {
  log.matched_each("equals another constant", merge_constants(network));
  log.matched_each("computes what another node does", merge_nodes(network));
}

}  // namespace bertie
