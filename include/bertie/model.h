// A model family's network, built from a Hugging Face folder, with what a caller must know to feed it and to read its outputs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/network.h"
#include "bertie/tokenizer.h"

namespace bertie {

// How the logits of a classification head become scores: softmax over the labels, a sigmoid each (also for one label where
// config.json states nothing, as Hugging Face's pipeline does), or as they are.
enum class ProblemType { none, single_label, multi_label, regression };

// A dense layer of a sentence-transformers folder, applied to the pooled vector.
struct DenseInfo {
  int64_t in_features = 0;
  int64_t out_features = 0;
  std::string activation;  // an activation of the `unary` or `gelu` op, "identity" for none
};

// What a sentence-transformers folder does to the tokens' last hidden state: pool, then the dense layers, then normalise.
struct PoolingInfo {
  std::string mode;  // of the `pool` op: mean, cls, max, mean_sqrt_length
  std::vector<DenseInfo> dense;
  bool normalize = false;
};

struct BERTIE_API ModelInfo {
  std::string source;              // the folder or file, or "random:SPEC"
  std::vector<std::string> files;  // what was read for it, the tokenizer's files too
  std::string family;              // config.json's model_type: "bert", "xlm-roberta", ...
  std::string architecture;        // "BertForMaskedLM"; empty where config.json names none
  int64_t layers = 0;
  int64_t hidden_size = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t ffn = 0;
  int64_t vocabulary = 0;
  int64_t max_positions = 0;    // longest usable sequence in tokens
  int64_t type_vocabulary = 0;  // 0: no type embeddings, no token_type_ids input
  std::optional<int64_t> pad_id;
  std::vector<std::string> labels;  // by class id; empty without a classification head
  ProblemType problem_type = ProblemType::none;
  // What a cross-encoder's score is made by from the logit of its only label: "sigmoid" or "identity"; empty where there is none.
  std::string score_activation;
  std::vector<std::string> tasks;              // what the heads can do: fill-mask, classify, rerank, tag, answer, embed
  std::optional<PoolingInfo> pooling;          // set for a sentence-transformers folder
  std::optional<int64_t> max_sequence_length;  // tokens to which that folder's library truncates; never over max_positions
  bool lower_case = false;                     // that library lower-cases a text before it tokenises it
  // An ONNX file's own names of the outputs that tasks read, by the names below ("logits"), where it has them.
  std::map<std::string, std::string, std::less<>> output_names;
  std::string output(std::string_view name) const;  // `name` itself where output_names says nothing else
  // Outputs of the network that end in an axis of extent 1 which Hugging Face's output of that name does not have.
  std::vector<std::string> squeezed_outputs;
  int64_t parameters = 0;                    // elements of the weights in use, a shared tensor counted once
  std::vector<std::string> surplus_tensors;  // in the files, but no part of the network
};

struct EngineOptions;  // engine.h
class KernelTimings;   // engine.h

struct ModelOptions {
  std::string tokenizer;  // a folder or tokenizer.json to use instead of the model folder's own
};

// Immutable, cheap to copy, shareable between threads. The weights stay in the mapped files in their stored dtype.
//
// Inputs of the network, all i64 [batch, sequence]: input_ids, attention_mask, token_type_ids (where there are type
// embeddings), position_ids. Outputs: last_hidden_state [batch, sequence, E]; where the folder has what they need,
// pooler_output [batch, E], logits ([batch, sequence, V], [batch, labels] or [batch, sequence, labels]; an ELECTRA
// discriminator's is [batch, sequence, 1]), start_logits and end_logits [batch, sequence, 1], sentence_embedding [batch, E'].
// `ModelInfo::squeezed_outputs` names those whose last axis is to be dropped for Hugging Face's shape.
class BERTIE_API Model {
 public:
  // A folder with config.json and model.safetensors (or its sharded index), or a sentence-transformers folder around one.
  // Or an .onnx file, with the tokenizer, config.json and modules.json that lie beside it or in the folder above (none need be there).
  // Or an engine file (save_engine, engine.h), whose network is already optimised and whose weights are used where they are mapped.
  // Throws Error(not_found) for a missing file or tensor, Error(invalid_file) for broken bytes or a tensor of a wrong shape,
  // Error(unsupported) naming the field or tensor that bertie cannot honour.
  static Model load(const std::string& path, const ModelOptions& options = {});
  // A BERT encoder without pooler or head, weights drawn by `seed` to a trained model's statistics.
  // spec: "base", "large", "minilm" or "L,H,A,F" (layers, hidden size, heads, feed-forward size).
  static Model random(const std::string& spec, uint64_t seed = 0);

  const Network& network() const;
  const ModelInfo& info() const;
  // Loaded when first asked for. Throws Error(not_found) naming the folder where there is none.
  std::shared_ptr<const Tokenizer> tokenizer() const;
  bool has_tokenizer() const;
  // How the engine file was made, a JSON object (docs/design/engine-file.md): source files with their hashes, options, passes,
  // kernels. Empty where the model is not from an engine file.
  const std::string& provenance() const;
  // XXH3-128 over those of the files that hold weights: alike from the files and from an engine file made of them.
  std::string weights_hash() const;
  // The kernels' times in it, for EngineOptions::timings; nullptr where there are none.
  std::shared_ptr<KernelTimings> timings() const;

 private:
  struct State;
  explicit Model(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

// The tensors of a checkpoint by name, for networks laid down by hand. They lie in the mapped files in their stored dtype; copies
// of this class, and the tensors that it gives, keep the files mapped.
class BERTIE_API Weights {
 public:
  // A folder with model.safetensors (or its sharded index), or the path of one .safetensors file. Throws Error(not_found),
  // Error(invalid_file) for broken bytes, Error(io).
  static Weights open(const std::string& path);

  // Throws Error(not_found) where there is no such tensor, Error(unsupported) where its stored dtype is none of bertie's.
  Tensor tensor(std::string_view name) const;
  bool has(std::string_view name) const;
  std::vector<std::string> names() const;  // in alphabetical order

 private:
  struct State;
  explicit Weights(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

struct OnnxExportOptions {
  int64_t opset = 17;         // 11 to 23
  bool position_ids = false;  // an input of that name; otherwise they are computed in the graph, by the network's rule
  // Where the weights are more bytes than this they go into a file beside it, PATH.data (protobuf ends at 2 GiB).
  int64_t largest_inline = 1'500'000'000;
};

// Writes the network, as it was before any pass, in standard ONNX ops: inputs and outputs under their own names with dynamic batch and
// sequence, weights under the checkpoint's names in f32. The same network gives the same bytes; PATH appears whole or not at all.
// Throws Error(unsupported) naming an op that the opset cannot say, Error(io).
BERTIE_API void export_onnx(const Network& network, const std::string& path, const OnnxExportOptions& options = {});
// Outputs get Hugging Face's shapes.
BERTIE_API void export_onnx(const Model& model, const std::string& path, const OnnxExportOptions& options = {});
// Of the network that `quantization` (calibration, layer_precision, disabled_passes) makes of the model: what it computes in int8 is
// written with QuantizeLinear and DequantizeLinear, from opset 13 on (docs/design/export.md). Throws Error(invalid_argument) where there
// is no calibration, Error(unsupported) naming a layer that it leaves out, and what export_onnx throws.
BERTIE_API void export_quantized_onnx(const Model& model, const std::string& path, const EngineOptions& quantization,
                                      const OnnxExportOptions& options = {});

}  // namespace bertie
