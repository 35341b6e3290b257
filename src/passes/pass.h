// A pass rewrites the network in place and says what it did. The network is verified after each.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/calibration.h"
#include "bertie/engine.h"
#include "bertie/network.h"
#include "passes/layer_precision.h"

namespace bertie {

// Collects one pass's lines for the build log.
class PassLog {
 public:
  explicit PassLog(PassReport& report) : report_(report) {}

  template <typename... Args>
  void matched(fmt::format_string<Args...> format, Args&&... args) {
    ++report_.matches;
    report_.lines.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  // One line for many small matches of one kind: their number and the first names.
  void matched_each(std::string_view what, const std::vector<std::string>& names);
  template <typename... Args>
  void refused(fmt::format_string<Args...> format, Args&&... args) {
    report_.lines.push_back("refused: " + fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  PassReport& report_;
};

struct PassOptions {
  // Whether `name` is for linear layers alone.
  bool is_linear_only(std::string_view name) const {
    return std::find(linear_only.begin(), linear_only.end(), name) != linear_only.end();
  }
  bool is_disabled(std::string_view pass) const { return std::find(disabled.begin(), disabled.end(), pass) != disabled.end(); }
  // What steps are computed in beside layers in the wanted precision, where that is for linear layers alone.
  const std::string& beside_linear_layers() const {
    const bool whole = precision != "auto" && !is_linear_only(precision);
    return whole ? precision : float_precision;
  }

  std::vector<std::string> select_rows;  // see EngineOptions
  std::vector<std::string> disabled;     // names
  std::string precision = "fp32";        // see EngineOptions
  std::vector<LayerPrecision> layer_precision;
  const Calibration* calibration = nullptr;                                    // see EngineOptions
  std::vector<std::string> linear_only = std::vector<std::string>(1, "int8");  // precisions that are for linear layers alone
  std::string float_precision = "fp32";                                        // beside those: the device's
  std::function<bool(int64_t columns, int64_t depth_bytes)>
      fuses_linear_layer_norm;  // on the device (Backend); empty: it does not
};

// What an engine's options say to the passes; of a device they say nothing. Throws Error(invalid_argument) for a layer precision that is none.
PassOptions pass_options(const EngineOptions& options);

struct Pass {
  std::string_view name;  // the file stem
  void (*run)(Network&, const PassOptions&, PassLog&);
};

// In the order in which they run; a pass's number is its place here, from 1.
const std::vector<Pass>& all_passes();

// Runs every pass that is not disabled. Throws Error(invalid_argument) for an unknown name in `disabled`.
std::vector<PassReport> run_passes(Network& network, const PassOptions& options);

// As run_passes, without those from remove_padding on: the network stays as a caller knows it, [batch, sequence], and may be run
// through the passes again. This is what an engine file keeps.
std::vector<PassReport> run_logical_passes(Network& network, const PassOptions& options);

// After run_logical_passes: the linear layers that the options compute in eight bits are int8_linear or fp8_linear from here on, and so are
// their weights; those in bfloat16 say so, where that is a precision of linear layers alone; and the others stay in float32. What else the
// options ask for is left to the engine. Returns how many layers are in eight bits or bfloat16.
size_t hold_precisions(Network& network, const PassOptions& options);

// One definition each, in the pass's file.
void assign_precision(Network&, const PassOptions&, PassLog&);
void canonicalize(Network&, const PassOptions&, PassLog&);
void fold_constants(Network&, const PassOptions&, PassLog&);
void fuse_attention(Network&, const PassOptions&, PassLog&);
void fuse_embedding_layer_norm(Network&, const PassOptions&, PassLog&);
void fuse_gelu(Network&, const PassOptions&, PassLog&);
void fuse_layer_norm(Network&, const PassOptions&, PassLog&);
void fuse_linear(Network&, const PassOptions&, PassLog&);
void fuse_linear_activation(Network&, const PassOptions&, PassLog&);
void fuse_linear_layer_norm(Network&, const PassOptions&, PassLog&);
void fuse_quantize_rows(Network&, const PassOptions&, PassLog&);
void fuse_skip_layer_norm(Network&, const PassOptions&, PassLog&);
void fuse_normalize(Network&, const PassOptions&, PassLog&);
void fuse_pool(Network&, const PassOptions&, PassLog&);
void keep_bf16_rows(Network&, const PassOptions&, PassLog&);
void merge_duplicates(Network&, const PassOptions&, PassLog&);
void merge_qkv(Network&, const PassOptions&, PassLog&);
void narrow_weights(Network&, const PassOptions&, PassLog&);
void quantize_linear_layers(Network&, const PassOptions&, PassLog&);
void recognize_positions(Network&, const PassOptions&, PassLog&);
void recognize_quantization(Network&, const PassOptions&, PassLog&);
void remove_dead_nodes(Network&, const PassOptions&, PassLog&);
void remove_padding(Network&, const PassOptions&, PassLog&);
void select_rows(Network&, const PassOptions&, PassLog&);

// What `canonicalize` does, for a pass that leaves layouts behind: the names of the nodes changed, by what was done to them.
std::map<std::string_view, std::vector<std::string>> to_canonical_form(Network& network);

// --- What passes ask of a network ---
// The node that makes `value`, or nullptr for an input or a constant.
const Node* producer(const Network& network, ValueId value);
bool is_output(const Network& network, ValueId value);
// Whether exactly one node, and no network output, reads `value`.
bool has_one_reader(const Network& network, ValueId value);
// Whether nodes read `value`, no network output does, and each of them `suits` and reads it as its input `place` alone.
template <typename Suits>
bool is_read_alone_by(const Network& network, ValueId value, size_t place, Suits suits) {
  const std::vector<NodeId> readers = network.consumers(value);
  return !is_output(network, value) && !readers.empty() && std::all_of(readers.begin(), readers.end(), [&](NodeId id) {
    const Node& node = network.node(id);
    return suits(node) && node.input(place) == value && std::count(node.inputs.begin(), node.inputs.end(), value) == 1;
  });
}
// Whether `node` is a linear layer that is to be computed in `precision`.
inline bool is_linear_in(const Node& node, std::string_view precision) {
  return node.op == "linear" && node.text("precision", "fp32") == precision;
}
// Why `node` cannot be computed in a precision that is for linear layers alone; empty: it can.
std::string_view no_linear(const Network& network, const Node& node);
// Whether something that is computed is quantised, as the network of a quantised file has it: recognize_quantization says where.
bool says_eight_bits(const Network& network);

}  // namespace bertie
