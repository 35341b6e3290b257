// The heads: what is computed from the last hidden state, by the architecture that config.json names.
#include <array>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "models/builder.h"

namespace bertie::models {
namespace {

enum class Head { none, masked, discriminator, sequence, token, question_answering };

[[noreturn]] void unsupported_architecture(const Builder& b) {
  fail(ErrorCode::unsupported, "{}: field 'architectures': '{}' is not supported for model_type '{}'", b.config.file,
       b.config.architecture, b.config.model_type);
}

Head head_of_architecture(const Builder& b) {
  // transformers goes by model_type: the class of a sister family names the head only.
  std::string_view rest = b.config.architecture;
  const Family* named = family_of_architecture(rest);
  if (!named) unsupported_architecture(b);
  rest.remove_prefix(named->class_prefix.size());
  if (rest == "Model") return Head::none;
  if (rest == "ForMaskedLM") return Head::masked;
  if (rest == "ForSequenceClassification") return Head::sequence;
  if (rest == "ForTokenClassification") return Head::token;
  if (rest == "ForQuestionAnswering") return Head::question_answering;
  if (rest == "ForPreTraining" && b.family.pretraining_is_masked) return Head::masked;
  if (rest == "ForPreTraining" && !b.family.discriminator.empty()) return Head::discriminator;
  unsupported_architecture(b);
}

// Without `architectures` only heads whose tensors leave no doubt are taken.
Head head_of_tensors(const Builder& b) {
  const auto has = [&](std::string_view name) { return b.weights.has(std::string(name) + ".weight"); };
  if (has(b.family.masked.dense)) return Head::masked;
  if (has(b.family.question_answering)) return Head::question_answering;
  if (!b.family.sequence.dense.empty() && has(b.family.sequence.dense)) return Head::sequence;
  return Head::none;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.dtype == b.dtype && a.shape == b.shape &&
         (a.data == b.data || std::memcmp(a.data.get(), b.data.get(), a.bytes()) == 0);
}

// The decoder's weight [V, width]: the word-embedding table where they are tied. A checkpoint that says tied but holds
// a different decoder means the latter, as in transformers 5.
ValueId decoder_weight(Builder& b, int64_t width) {
  const std::string name = std::string(b.family.masked.decoder) + ".weight";
  const Shape shape{b.config.vocabulary, width};
  if (!b.config.tie_word_embeddings) return b.weights.constant(b.network, name, shape);
  if (width != b.width(b.word_table)) {
    fail(ErrorCode::invalid_file, "{}: the decoder's width {} is not the embedding table's {}", b.weights.source(), width,
         b.width(b.word_table));
  }
  if (!b.weights.has(name)) return b.word_table;
  const Tensor& word = *b.network.value(b.word_table).constant;
  if (same_bytes(word, b.weights.peek(name, shape))) return b.word_table;
  log(LogLevel::warning, "{}: tensor '{}' differs from the word embeddings that config.json ties it to; it is used as it is",
      b.weights.source(), name);
  return b.weights.constant(b.network, name, shape);
}

ValueId decoder_bias(Builder& b) {
  const std::string duplicate = std::string(b.family.masked.decoder) + ".bias";
  const std::string name = b.weights.has(duplicate) ? duplicate : std::string(b.family.masked.bias);
  return b.weights.constant(b.network, name, Shape{b.config.vocabulary});
}

ValueId add_masked(Builder& b) {
  const MaskedHead& head = b.family.masked;
  const std::string dense(head.dense);
  const std::string activation = head.activation.empty() ? b.hidden_act() : std::string(head.activation);
  ValueId x = b.linear(b.hidden, dense, b.embedding_size(), dense);
  x = add_activation(b.network, activation, x, dense + ".activation");
  x = b.layer_norm(x, std::string(head.norm), std::string(head.norm));
  return b.network.add_linear(x, decoder_weight(b, b.embedding_size()), decoder_bias(b), std::string(head.decoder));
}

ValueId first_token(Builder& b, const std::string& node) { return b.network.add_pool(b.hidden, kNone, "cls", node); }

// tanh(dense(first token)), or kNone where the checkpoint has no pooler.
ValueId add_pooler(Builder& b, bool required) {
  const std::string name(b.family.pooler);
  if (name.empty() || (!required && !b.weights.has(b.prefixed(name) + ".weight"))) return kNone;
  const ValueId x = b.linear(first_token(b, "pooler.first_token"), b.prefixed(name), b.config.hidden_size, name);
  return b.network.add_unary("tanh", x, "pooler.activation");
}

ValueId add_sequence(Builder& b, ValueId pooled, int64_t labels) {
  const SequenceHead& head = b.family.sequence;
  const std::string output(head.output);
  if (head.dense.empty()) return b.linear(pooled, output, labels, output);
  const std::string dense(head.dense);
  ValueId x = b.linear(first_token(b, "classifier.first_token"), dense, b.config.hidden_size, dense);
  x = add_activation(b.network, head.activation, x, dense + ".activation");
  return b.linear(x, output, labels, output);
}

ValueId add_discriminator(Builder& b) {
  const std::string prefix(b.family.discriminator);
  ValueId x = b.linear(b.hidden, prefix + ".dense", b.config.hidden_size, prefix + ".dense");
  x = add_activation(b.network, b.hidden_act(), x, prefix + ".dense.activation");
  return b.linear(x, prefix + ".dense_prediction", 1, prefix + ".dense_prediction");
}

Tensor row(const Tensor& tensor, int64_t index) {
  Shape shape = tensor.shape;
  shape[0] = 1;
  const size_t stride = static_cast<size_t>(shape.elements()) * dtype_size(tensor.dtype);
  const auto* data = static_cast<const std::byte*>(tensor.data.get()) + static_cast<size_t>(index) * stride;
  return {tensor.dtype, shape, std::shared_ptr<const void>(tensor.data, data)};
}

void add_question_answering(Builder& b) {
  const std::string name(b.family.question_answering);
  const Tensor& weight = b.weights.tensor(name + ".weight", Shape{2, b.config.hidden_size});
  const Tensor& bias = b.weights.tensor(name + ".bias", Shape{2});
  for (const auto& [index, side] : {std::pair<int64_t, std::string>{0, "start"}, {1, "end"}}) {
    const ValueId side_weight = b.network.add_constant(name + ".weight." + side, row(weight, index));
    const ValueId side_bias = b.network.add_constant(name + ".bias." + side, row(bias, index));
    b.network.add_output(side + "_logits", b.network.add_linear(b.hidden, side_weight, side_bias, name + "." + side));
  }
}

}  // namespace

ProblemType problem_type(const HuggingFaceConfig& config) {
  if (config.problem_type == "regression") return ProblemType::regression;
  if (config.problem_type == "multi_label_classification") return ProblemType::multi_label;
  if (config.problem_type == "single_label_classification") return ProblemType::single_label;
  if (!config.problem_type.empty()) {
    fail(ErrorCode::unsupported, "{}: field 'problem_type': '{}' is not supported", config.file, config.problem_type);
  }
  return config.labels.size() == 1 ? ProblemType::multi_label : ProblemType::single_label;
}

std::string score_activation(const HuggingFaceConfig& config) {
  const std::string& stated = config.score_activation;
  if (stated.empty()) return "sigmoid";
  if (stated.starts_with("torch.nn.")) {
    if (stated.ends_with(".Sigmoid")) return "sigmoid";
    if (stated.ends_with(".Identity")) return "identity";
  }
  fail(ErrorCode::unsupported, "{}: score activation '{}' is not supported", config.file, stated);
}

void build_heads(Builder& b, ModelInfo& info) {
  const Head head = b.config.architecture.empty() ? head_of_tensors(b) : head_of_architecture(b);
  const ValueId pooled = add_pooler(b, head == Head::sequence && b.family.sequence.dense.empty());
  if (pooled != kNone) b.network.add_output("pooler_output", pooled);
  const auto labels = static_cast<int64_t>(b.config.labels.size());
  switch (head) {
    case Head::none: break;
    case Head::masked:
      b.network.add_output("logits", add_masked(b));
      info.tasks = {"fill-mask"};
      break;
    case Head::discriminator:
      b.network.add_output("logits", add_discriminator(b));
      info.squeezed_outputs = {"logits"};
      break;
    case Head::sequence:
      b.network.add_output("logits", add_sequence(b, pooled, labels));
      info.labels = b.config.labels;
      info.problem_type = problem_type(b.config);
      info.tasks = {"classify"};
      if (labels == 1) {
        info.score_activation = score_activation(b.config);
        info.tasks.emplace_back("rerank");
      }
      break;
    case Head::token: {
      const std::string name(b.family.token_classifier);
      b.network.add_output("logits", b.linear(b.hidden, name, labels, name));
      info.labels = b.config.labels;
      info.tasks = {"tag"};
      break;
    }
    case Head::question_answering:
      add_question_answering(b);
      info.squeezed_outputs = {"start_logits", "end_logits"};
      info.tasks = {"answer"};
      break;
  }
}

}  // namespace bertie::models
