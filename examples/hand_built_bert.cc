// BERT laid down call by call, in elementary ops alone: three products, transposes, a scale, a softmax, GELU and LayerNorm from
// pieces, its weights found by name. The builder's passes recognise them: the plan is the one that the imported model has, and the
// logits are the same.
//
//   hand_built_bert [FOLDER]     (models/minilm-l6-mlm)
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "bertie/bertie.h"

namespace {

using bertie::DType, bertie::Tensor, bertie::ValueId;

class Bert {
 public:
  Bert(const bertie::Weights& weights, const bertie::ModelInfo& info) : weights_(weights), info_(info) {}

  bertie::Network build() {
    const bertie::SymbolicShape shape = {"batch", "sequence"};
    const ValueId ids = network_.add_input("input_ids", DType::i64, shape);
    const ValueId mask = network_.add_input("attention_mask", DType::i64, shape);
    const ValueId types = network_.add_input("token_type_ids", DType::i64, shape);
    const ValueId positions = network_.add_input("position_ids", DType::i64, shape);
    const ValueId lowest = additive_mask(mask);

    const ValueId words = weight("bert.embeddings.word_embeddings.weight");
    ValueId x = network_.add_gather(words, ids, 0);
    x = add(x, network_.add_gather(weight("bert.embeddings.token_type_embeddings.weight"), types, 0));
    x = add(x, network_.add_gather(weight("bert.embeddings.position_embeddings.weight"), positions, 0));
    x = layer_norm(x, "bert.embeddings.LayerNorm");
    for (int64_t i = 0; i < info_.layers; ++i) x = layer(x, lowest, "bert.encoder.layer." + std::to_string(i) + ".");

    x = layer_norm(gelu(linear(x, "cls.predictions.transform.dense")), "cls.predictions.transform.LayerNorm");
    const ValueId logits = network_.add_matmul(x, network_.add_transpose(words, {1, 0}));
    network_.add_output("logits", add(logits, weight("cls.predictions.bias")));
    return std::move(network_);
  }

 private:
  ValueId weight(const std::string& name) { return network_.add_constant(name, weights_.tensor(name)); }
  ValueId number(double value) {
    const float narrow = static_cast<float>(value);
    return network_.add_constant("number", Tensor::from_floats({}, {&narrow, 1}));
  }
  ValueId add(ValueId a, ValueId b) { return network_.add_elementwise("add", a, b); }
  ValueId subtract(ValueId a, ValueId b) { return network_.add_elementwise("sub", a, b); }
  ValueId multiply(ValueId a, ValueId b) { return network_.add_elementwise("mul", a, b); }
  ValueId divide(ValueId a, ValueId b) { return network_.add_elementwise("div", a, b); }
  ValueId mean(ValueId x) { return network_.add_reduce("mean", x, std::vector<int64_t>{-1}, true); }

  // x [..., K] times weight [N, K] transposed, plus bias [N].
  ValueId linear(ValueId x, const std::string& name) {
    const ValueId transposed = network_.add_transpose(weight(name + ".weight"), {1, 0});
    return add(network_.add_matmul(x, transposed, name), weight(name + ".bias"));
  }

  // (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * gamma + beta
  ValueId layer_norm(ValueId x, const std::string& name) {
    const ValueId centred = subtract(x, mean(x));
    const ValueId variance = mean(multiply(centred, centred));
    const ValueId deviation = network_.add_unary("sqrt", add(variance, number(1e-12)));
    return add(multiply(divide(centred, deviation), weight(name + ".weight")), weight(name + ".bias"));
  }

  // x/2 (1 + erf(x / sqrt 2))
  ValueId gelu(ValueId x) {
    const ValueId erf = network_.add_unary("erf", divide(x, number(std::sqrt(2.0))));
    return multiply(multiply(x, number(0.5)), add(erf, number(1)));
  }

  // 0 where a key is attended, -10000 where it is padding: [batch, 1, 1, sequence].
  ValueId additive_mask(ValueId mask) {
    const ValueId wide = network_.add_reshape(network_.add_cast(mask, DType::f32), std::vector<int64_t>{0, 1, 1, -1});
    return multiply(subtract(number(1), wide), number(-10000));
  }

  // [batch, sequence, H*D] to [batch, H, sequence, D].
  ValueId by_heads(ValueId x) {
    const ValueId split = network_.add_reshape(x, std::vector<int64_t>{0, 0, info_.heads, info_.head_dim});
    return network_.add_transpose(split, {0, 2, 1, 3});
  }

  ValueId attention(ValueId x, ValueId lowest, const std::string& name) {
    const ValueId query = by_heads(linear(x, name + "query"));
    const ValueId key = by_heads(linear(x, name + "key"));
    const ValueId value = by_heads(linear(x, name + "value"));
    ValueId scores = network_.add_matmul(query, network_.add_transpose(key, {0, 1, 3, 2}));
    scores = divide(scores, number(std::sqrt(static_cast<double>(info_.head_dim))));
    const ValueId weights = network_.add_softmax(add(scores, lowest), -1);
    const ValueId context = network_.add_transpose(network_.add_matmul(weights, value), {0, 2, 1, 3});
    return network_.add_reshape(context, std::vector<int64_t>{0, 0, info_.hidden_size});
  }

  ValueId layer(ValueId x, ValueId lowest, const std::string& name) {
    const ValueId context = linear(attention(x, lowest, name + "attention.self."), name + "attention.output.dense");
    x = layer_norm(add(context, x), name + "attention.output.LayerNorm");
    const ValueId inner = gelu(linear(x, name + "intermediate.dense"));
    return layer_norm(add(linear(inner, name + "output.dense"), x), name + "output.LayerNorm");
  }

  const bertie::Weights& weights_;
  const bertie::ModelInfo& info_;
  bertie::Network network_;
};

std::vector<std::string> plan(const bertie::Engine& engine) {
  std::vector<std::string> steps;
  for (const bertie::StepInfo& step : engine.steps()) steps.push_back(step.op + " " + step.output_shape + " " + step.kernel);
  return steps;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string folder = argc > 1 ? argv[1] : "models/minilm-l6-mlm";
  const bertie::Model model = bertie::Model::load(folder);
  const bertie::Weights weights = bertie::Weights::open(folder);

  bertie::EngineOptions options;
  options.outputs = {"logits"};
  const auto own = bertie::Engine::build(model.network(), options);
  const auto hand_built = bertie::Engine::build(Bert(weights, model.info()).build(), options);
  for (const bertie::PassReport& pass : hand_built->passes())
    std::printf("%2d %-26s %d\n", pass.number, pass.name.c_str(), pass.matches);
  std::printf("%zu steps, by the imported model %zu\n", hand_built->steps().size(), own->steps().size());
  if (plan(*hand_built) != plan(*own)) {
    std::fprintf(stderr, "the plans differ:\n%s\n%s", hand_built->network().to_string().c_str(),
                 own->network().to_string().c_str());
    return 1;
  }

  // Two sentences of different lengths, end to end.
  std::vector<int32_t> ids, starts = {0};
  for (const char* text : {"Paris is the [MASK] of France.", "The [MASK] sat on the mat."}) {
    const bertie::Encoding encoding = model.tokenizer()->encode(text);
    ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
    starts.push_back(static_cast<int32_t>(ids.size()));
  }
  bertie::Batch batch;
  batch.token_ids = ids;
  batch.cumulative_lengths = starts;
  bertie::Session by_hand(hand_built), imported(own);
  by_hand.run(batch);
  imported.run(batch);
  const bertie::TensorView a = by_hand.output("logits");
  const bertie::TensorView b = imported.output("logits");
  double largest = 0;
  for (int64_t i = 0; i < a.shape.elements(); ++i)
    largest = std::fmax(largest, std::fabs(static_cast<double>(a.as<float>()[i]) - b.as<float>()[i]));
  std::printf("logits %s, largest difference %g\n", a.shape.to_string().c_str(), largest);
  return a.shape == b.shape && largest < 1e-4 ? 0 : 1;
} catch (const bertie::Error& error) {
  std::fprintf(stderr, "hand_built_bert: %s\n", error.what());
  return 1;
}
