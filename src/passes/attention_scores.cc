#include "passes/attention_scores.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "network/attention_bias.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/probe.h"

namespace bertie {
namespace {

constexpr size_t kLargest = 256;     // nodes of a mask's computation
constexpr double kTolerance = 2e-5;  // of a weight, which is at most 1: float32 arithmetic on scores up to 10
constexpr double kNothing = -1e4;    // scores that are replaced by less weigh nothing
constexpr double kAttended = 1e-9;   // weights below are of keys that are not attended: scores differ by 20 at most

// Ops that compute masks, biases and softmax; not those that read hidden states.
bool is_light(const Node& node) {
  return node.op != "matmul" && node.op != "linear" && node.op != "layer_norm" && node.op != "attention" && node.op != "gelu" &&
         node.op != "embedding_layer_norm" && node.op != "pool";
}

// The softmax nearest above `weights` on the way to `scores`.
const Node* softmax_between(const Network& network, const Cone& cone, ValueId scores) {
  for (NodeId id : cone.nodes) {
    const Node& node = network.node(id);
    if (node.op == "softmax" && !cone_of(network, node.outputs[0], {scores}, kLargest, is_light).roots.empty()) return &node;
  }
  return nullptr;
}

// Deterministic scores between -5 and 5.
std::vector<float> random_scores(int64_t count) {
  std::mt19937 random(20240801);
  std::vector<float> scores;
  for (int64_t i = 0; i < count; ++i) scores.push_back(static_cast<float>(random() % 20001) / 2000.0f - 5.0f);
  return scores;
}

struct Probe {
  int64_t batch, sequence;
  std::vector<bool> attended;
};

// [H, 2P-1]: the row of the first query, and the column of the first key before it.
std::vector<float> offsets_of(const float* square, int64_t heads, int64_t positions) {
  std::vector<float> table;
  for (int64_t h = 0; h < heads; ++h) {
    const float* own = square + h * positions * positions;
    for (int64_t q = positions - 1; q > 0; --q) table.push_back(own[q * positions]);
    for (int64_t k = 0; k < positions; ++k) table.push_back(own[k]);
  }
  return table;
}

bool follows_offsets(const float* square, const std::vector<float>& table, int64_t heads, int64_t positions) {
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t q = 0; q < positions; ++q) {
      for (int64_t k = 0; k < positions; ++k) {
        const float expected = table[static_cast<size_t>(h * (2 * positions - 1) + positions - 1 + k - q)];
        if (square[(h * positions + q) * positions + k] != expected) return false;
      }
    }
  }
  return true;
}

// The longest sequence that the position table takes, or 512.
int64_t longest_sequence(const Network& network) {
  int64_t longest = 0;
  for (NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (node.op != "embedding" || network.value(node.input(1)).role != InputRole::position_ids) continue;
    longest = std::max(longest, network.value(node.input(0)).shape[0].size);
  }
  return longest > 0 ? longest : 512;
}

}  // namespace

// Finds the value that depends on extents and constants alone and is added to the scores, and makes it a table by offset.
ValueId ScoreReader::relative_bias(ValueId scores, ValueId logits, int64_t heads, const Dim& batch, const Dim& sequence,
                                   std::string& reason) {
  const Cone cone = cone_of(network_, logits, {scores}, kLargest, is_light);
  for (NodeId id : cone.nodes) {
    const Node& node = network_.node(id);
    if (!is_function(&node, "elementwise", "add")) continue;
    for (ValueId operand : node.inputs) {
      const SymbolicShape& shape = network_.value(operand).shape;
      const Cone own = cone_of(network_, operand, {scores}, kLargest, is_light);
      if (own.stopped || !own.roots.empty() || !own.inputs.empty() || shape.size() < 3) continue;
      if (!(shape[shape.size() - 3] == Dim(heads)) || (shape.size() == 4 && !(shape[0] == Dim(1)))) continue;
      if (const auto known = biases_.find(operand); known != biases_.end()) return known->second;
      const int64_t positions = sequence.is_fixed() ? sequence.size : longest_sequence(network_);
      const Extents extents(batch, sequence, 1, positions);
      const auto square = try_evaluate(network_, operand, probe_inputs(network_, extents, kNone, {}));
      if (!square || square->dtype != DType::f32 || square->shape.elements() != heads * positions * positions) continue;
      const auto table = offsets_of(square->view().as<float>(), heads, positions);
      if (!follows_offsets(square->view().as<float>(), table, heads, positions)) {
        reason = fmt::format("the bias '{}' is no function of key column - query column", network_.value(operand).name);
        return kNone;
      }
      const ValueId constant =
          network_.add_constant(network_.value(operand).name, Tensor::from_floats(Shape{heads, 2 * positions - 1}, table));
      biases_[operand] = constant;
      return constant;
    }
  }
  reason = "something besides a mask and a bias by offset is added to the scores";
  return kNone;
}

std::optional<ScoreMeaning> ScoreReader::read_with_bias(ValueId scores, ValueId weights, int64_t heads, const Dim& batch,
                                                        const Dim& sequence) {
  const Node* softmax = producer(network_, weights);
  if (!softmax || softmax->op != "softmax" || network_.value(scores).shape.size() != 4) return std::nullopt;
  if (const int64_t axis = softmax->integer("axis", -1); axis != -1 && axis != 3) return std::nullopt;
  const auto is_apart = [&](ValueId value) {
    const Cone cone = cone_of(network_, value, {scores}, kLargest, is_light);
    return !cone.stopped && cone.roots.empty();
  };
  bool by_key = false;  // whether a term differs from key to key
  const auto fits = [&](ValueId value) {
    SymbolicShape shape = network_.value(value).shape;
    if (shape.size() > 4) return false;
    shape.insert(shape.begin(), 4 - shape.size(), Dim(1));
    by_key = by_key || shape.back() == sequence;
    if (shape.back() == Dim(1)) shape.back() = sequence;
    return is_attention_bias(shape, batch, heads, sequence);
  };
  // What is added, or what scores are replaced by where they are not chosen.
  struct Term {
    ValueId value;
    double other = 0;
    int chosen = -1;  // which of the choice's operands the scores are
  };
  std::vector<Term> terms;
  ScoreMeaning meaning;
  for (ValueId value = softmax->input(0); value != scores;) {
    const Node* node = producer(network_, value);
    if (!node) return std::nullopt;
    if (is_function(node, "elementwise", "add") && meaning.scale == 1) {
      const size_t other = is_apart(node->input(1)) ? 1 : 0;
      const ValueId term = node->input(other);
      if ((other == 0 && !is_apart(term)) || !fits(term) || network_.value(term).dtype != DType::f32) return std::nullopt;
      terms.push_back({term});
      value = node->input(1 - other);
    } else if (node->op == "where" && meaning.scale == 1) {
      const int chosen = scalar(network_, node->input(1)) ? 2 : 1;
      const auto instead = scalar(network_, node->input(static_cast<size_t>(3 - chosen)));
      if (!instead || *instead > kNothing || !is_apart(node->input(0)) || !fits(node->input(0))) return std::nullopt;
      terms.push_back({node->input(0), *instead, chosen});
      value = node->input(static_cast<size_t>(chosen));
    } else if (is_function(node, "elementwise", "mul") || is_function(node, "elementwise", "div")) {
      const auto operand = scalar_operand(network_, *node);
      const bool divides = is_function(node, "elementwise", "div");
      if (!operand || (divides && (operand->constant_first || operand->constant == 0))) return std::nullopt;
      meaning.scale *= divides ? 1 / operand->constant : operand->constant;
      value = operand->x;
    } else {
      return std::nullopt;
    }
  }
  if (!by_key) return std::nullopt;
  const auto number = [&](float x, Shape shape) { return network_.add_constant("number", Tensor::from_floats(shape, {&x, 1})); };
  for (const Term& term : terms) {
    ValueId added = term.value;
    if (term.chosen >= 0) {
      const ValueId other = number(static_cast<float>(term.other), {}), nothing = number(0, {});
      added = term.chosen == 1 ? network_.add_where(term.value, nothing, other) : network_.add_where(term.value, other, nothing);
    }
    meaning.bias = meaning.bias == kNone ? added : network_.add_elementwise("add", meaning.bias, added);
  }
  if (network_.value(meaning.bias).shape.size() < 4)
    meaning.bias = network_.add_elementwise("add", meaning.bias, number(0, Shape{1, 1, 1, 1}));
  return meaning;
}

std::optional<ScoreMeaning> ScoreReader::read(ValueId scores, ValueId weights, int64_t heads, const Dim& batch,
                                              const Dim& sequence, std::string& reason) {
  const Cone cone = cone_of(network_, weights, {scores}, kLargest, is_light);
  if (cone.stopped) {
    reason = fmt::format("the weights depend on '{}' too", cone.stopped->name);
    return std::nullopt;
  }
  ScoreMeaning meaning;
  for (ValueId input : cone.inputs) {
    if (meaning.mask != kNone || !(network_.value(input).shape == SymbolicShape{batch, sequence})) {
      reason = fmt::format("the weights depend on input '{}' too", network_.value(input).name);
      return std::nullopt;
    }
    meaning.mask = input;
  }
  const Node* softmax = softmax_between(network_, cone, scores);
  if (!softmax) {
    reason = "no softmax between the products";
    return std::nullopt;
  }
  const int64_t rank = static_cast<int64_t>(network_.value(softmax->input(0)).shape.size());
  const int64_t axis = softmax->integer("axis", -1);
  if (axis != -1 && axis != rank - 1) {
    reason = fmt::format("'{}' is not over the keys", softmax->name);
    return std::nullopt;
  }
  const ValueId logits = softmax->input(0);

  const auto run = [&](ValueId wanted, const Probe& probe, const std::vector<float>& numbers) {
    const Extents extents(batch, sequence, probe.batch, probe.sequence);
    auto inputs = probe_inputs(network_, extents, meaning.mask, probe.attended);
    const auto shape = extents.of(network_.value(scores).shape);
    if (!shape) return std::optional<Tensor>();
    inputs[scores] = Tensor::from_floats(*shape, numbers);
    return try_evaluate(network_, wanted, inputs);
  };
  const auto extent = [](const Dim& dim, int64_t wanted) { return dim.is_fixed() ? dim.size : wanted; };
  const auto probe_of = [&](int64_t b, int64_t s, uint32_t seed) {
    b = extent(batch, b);
    s = extent(sequence, s);
    return Probe{b, s, probe_mask(b, s, seed)};
  };

  // The scale, and what is added, with every key attended.
  Probe open = probe_of(1, 5, 0);
  open.attended.assign(open.attended.size(), true);
  const int64_t count = open.batch * heads * open.sequence * open.sequence;
  const std::vector<float> numbers = random_scores(count);
  const auto at_numbers = run(logits, open, numbers);
  const auto at_zero = run(logits, open, std::vector<float>(static_cast<size_t>(count), 0.0f));
  if (!at_zero || !at_numbers || at_zero->dtype != DType::f32 || at_zero->shape.elements() != count) {
    reason = "the softmax is over another shape than that of the scores";
    return std::nullopt;
  }
  double product = 0, square = 0, added = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double zero = at_zero->view().as<float>()[i];
    const double score = numbers[static_cast<size_t>(i)];
    product += (at_numbers->view().as<float>()[i] - zero) * score;
    square += score * score;
    added = std::max(added, std::fabs(zero));
  }
  meaning.scale = product / square;
  if (!std::isfinite(meaning.scale) || !(added < 1e4)) {
    const float* rows = at_zero->view().as<float>();
    bool by_query = false;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t first = i / (open.sequence * open.sequence) * open.sequence * open.sequence;  // of this head's first query
      by_query = by_query || (rows[i] > -1e3f) != (rows[first + i % open.sequence] > -1e3f);
    }
    reason = by_query ? "the mask depends on query position" : "not every key is attended where the mask is 1";
    return std::nullopt;
  }
  if (added > 1e-6) {
    meaning.relative_bias = relative_bias(scores, logits, heads, batch, sequence, reason);
    if (meaning.relative_bias == kNone) return std::nullopt;
  }

  std::vector<Probe> probes = {probe_of(3, 7, 1), probe_of(1, 5, 2), probe_of(2, 1, 3)};
  if (!batch.is_fixed() && !sequence.is_fixed()) probes.insert(probes.begin(), {8, 3, all_of_three()});
  const Tensor* bias = meaning.relative_bias == kNone ? nullptr : &*network_.value(meaning.relative_bias).constant;
  for (const Probe& probe : probes) {
    const int64_t s = probe.sequence;
    const std::vector<float> raw = random_scores(probe.batch * heads * s * s);
    const auto actual = run(weights, probe, raw);
    if (!actual || actual->dtype != DType::f32 || actual->shape.elements() != static_cast<int64_t>(raw.size())) {
      reason = "the weights have another shape than the scores";
      return std::nullopt;
    }
    for (int64_t row = 0; row < probe.batch * heads * s; ++row) {
      const int64_t b = row / (heads * s);
      const int64_t h = row / s % heads;
      const int64_t q = row % s;
      std::vector<double> expected(static_cast<size_t>(s), 0.0);
      double total = 0;
      const auto attended = [&](int64_t k) { return meaning.mask == kNone || probe.attended[static_cast<size_t>(b * s + k)]; };
      for (int64_t k = 0; k < s; ++k) {
        if (!attended(k)) continue;
        const int64_t entries = bias ? bias->shape[1] : 0;
        const double added_bias = bias ? bias->view().as<float>()[h * entries + entries / 2 + k - q] : 0.0;
        expected[static_cast<size_t>(k)] = std::exp(meaning.scale * raw[static_cast<size_t>(row * s + k)] + added_bias);
        total += expected[static_cast<size_t>(k)];
      }
      if (total == 0) continue;  // padding alone: its rows are nobody's
      const float* own = actual->view().as<float>() + row * s;
      const auto weighed = [&](int64_t query, int64_t k) { return own[(query - q) * s + k] > kAttended; };
      double largest = 0;
      for (int64_t k = 0; k < s; ++k) {
        for (int64_t other = 0; other < s; ++other) {
          if (weighed(other, k) == weighed(q, k)) continue;
          reason = "the mask depends on query position";
          return std::nullopt;
        }
        if (weighed(q, k) != attended(k)) {
          reason =
              fmt::format("a key is {} where the mask is {}", weighed(q, k) ? "attended" : "not attended", attended(k) ? 1 : 0);
          return std::nullopt;
        }
        const double error = std::fabs(own[k] - expected[static_cast<size_t>(k)] / total);
        largest = std::isnan(error) ? HUGE_VAL : std::max(largest, error);
      }
      if (largest > kTolerance) {
        reason = fmt::format("it is not the softmax of scaled scores: weights differ by {:.2g}", largest);
        return std::nullopt;
      }
    }
  }
  return meaning;
}

}  // namespace bertie
