// Finds the layers of a network: stretches of its order that do the same again and again.
#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "network/diagram.h"

namespace bertie {
namespace {

constexpr size_t kShortest = 4;  // nodes; the q, k and v products of one layer are no layers

class Finder {
 public:
  Finder(const Network& network, std::span<const NodeId> order) : network_(network), order_(order) {
    for (size_t i = 0; i < order.size(); ++i) place_[order[i]] = i;
  }

  // The stretch of [begin, end) that saves most, and those on both sides of it.
  void find(size_t begin, size_t end, std::vector<Repetition>& found) const {
    Repetition best;
    const auto saved = [](const Repetition& r) { return (r.times - 1) * r.length; };
    for (size_t start = begin; start + 2 * kShortest <= end; ++start) {
      for (size_t length = kShortest; start + 2 * length <= end; ++length) {
        if (end - start - length < std::max<size_t>(saved(best), 1)) break;  // even if all that is left repeats
        const Repetition candidate{start, length, times(start, length, end)};
        if (candidate.times < 2 || saved(candidate) < saved(best)) continue;
        // Layers may be cut anywhere: where their names agree, their author has said where they begin.
        if (saved(candidate) > saved(best) || shared_name(candidate) > shared_name(best)) best = candidate;
      }
    }
    if (best.times < 2) return;
    find(begin, best.begin, found);
    found.push_back(best);
    find(best.begin + best.length * best.times, end, found);
  }

 private:
  size_t times(size_t start, size_t length, size_t end) const {
    std::map<ValueId, ValueId> entries;  // what the first copy reads from before it -> what the second reads in its place
    for (size_t i = 0; i < length; ++i) {
      if (!alike(start + i, start + i + length, start, length, &entries)) return 1;
    }
    size_t repeated = length;
    while (start + repeated + length < end && alike(start + repeated, start + repeated + length, start, length, nullptr))
      ++repeated;
    return repeated / length + 1;
  }

  // Whether node `b` of the order does what node `a` does, one copy later.
  bool alike(size_t a, size_t b, size_t start, size_t length, std::map<ValueId, ValueId>* entries) const {
    const Node& x = network_.node(order_[a]);
    const Node& y = network_.node(order_[b]);
    if (x.op != y.op || x.attributes != y.attributes || x.inputs.size() != y.inputs.size()) return false;
    if (x.outputs.size() != y.outputs.size()) return false;
    for (size_t i = 0; i < x.outputs.size(); ++i) {
      if (!(network_.value(x.outputs[i]).shape == network_.value(y.outputs[i]).shape)) return false;
    }
    for (size_t i = 0; i < x.inputs.size(); ++i) {
      if (!reads_alike(x.inputs[i], y.inputs[i], start, length, entries)) return false;
    }
    return true;
  }

  bool reads_alike(ValueId x, ValueId y, size_t start, size_t length, std::map<ValueId, ValueId>* entries) const {
    if (x == y) return true;
    if (x == kNone || y == kNone) return false;
    const Value& from = network_.value(x);
    const Value& to = network_.value(y);
    if (from.constant && to.constant) return from.dtype == to.dtype && from.shape == to.shape;
    const auto place_x = place(x), place_y = place(y);
    if (!place_y) return false;
    if (place_x && *place_x >= start) return *place_y == *place_x + length && output_index(x) == output_index(y);
    // The first copy reads what stands before all copies where the second reads the first.
    if (!entries || *place_y < start || *place_y >= start + length) return false;
    return entries->emplace(x, y).first->second == y;
  }

  // How many characters the names of a first copy's nodes begin with in common.
  size_t shared_name(const Repetition& repetition) const {
    const std::string& first = network_.node(order_[repetition.begin]).name;
    size_t shared = first.size();
    for (size_t i = 1; i < repetition.length; ++i) {
      const std::string& name = network_.node(order_[repetition.begin + i]).name;
      const auto differ =
          std::mismatch(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(shared), name.begin(), name.end());
      shared = static_cast<size_t>(differ.first - first.begin());
    }
    return shared;
  }

  std::optional<size_t> place(ValueId value) const {
    const auto found = place_.find(network_.value(value).producer);
    return found == place_.end() ? std::nullopt : std::optional(found->second);
  }

  size_t output_index(ValueId value) const {
    const auto& outputs = network_.node(network_.value(value).producer).outputs;
    return static_cast<size_t>(std::find(outputs.begin(), outputs.end(), value) - outputs.begin());
  }

  const Network& network_;
  std::span<const NodeId> order_;
  std::map<NodeId, size_t> place_;
};

}  // namespace

std::vector<Repetition> find_repetitions(const Network& network, std::span<const NodeId> order) {
  std::vector<Repetition> found;
  Finder(network, order).find(0, order.size(), found);
  return found;
}

}  // namespace bertie
