#include <algorithm>

#include "base/error.h"
#include "bertie/tasks.h"
#include "tasks/batcher.h"
#include "tasks/characters.h"
#include "tasks/task_model.h"

namespace bertie {
namespace {

ValueId output_value(const Network& network, std::string_view name) {
  for (const Network::Output& output : network.outputs()) {
    if (output.name == name) return output.value;
  }
  return kNone;
}

struct EmbeddingNetwork {
  Network network;
  std::string output;
};

// The model's network with the output that the folder describes, or the graph itself has, changed as the options ask.
EmbeddingNetwork embedding_network(const Model& model, const EmbedOptions& options) {
  const ModelInfo& info = model.info();
  EmbeddingNetwork result{model.network(), info.output("sentence_embedding")};
  Network& network = result.network;
  const std::optional<PoolingInfo>& folder = info.pooling;
  const bool normalize = options.normalize.value_or(folder && folder->normalize);
  ValueId embedding = options.pooling.empty() ? output_value(network, result.output) : kNone;
  if (embedding != kNone && (normalize || !folder || !folder->normalize)) {
    // A graph's own embedding comes without a word on whether it is normalised; once more changes nothing.
    if (!normalize || (folder && folder->normalize)) return result;
  } else {
    if (folder && !folder->dense.empty()) {
      fail(ErrorCode::unsupported, "{}: its dense layers follow its own pooling, which cannot be replaced", info.source);
    }
    const ValueId hidden = output_value(network, info.output("last_hidden_state"));
    if (hidden == kNone) fail(ErrorCode::unsupported, "{}: there is no last_hidden_state to pool", info.source);
    const std::string mode = !options.pooling.empty() ? options.pooling : folder ? folder->mode : "mean";
    embedding = network.add_pool(hidden, network.input_of(InputRole::attention_mask), mode, "pooling");
  }
  if (normalize) embedding = network.add_normalize(embedding, 1e-12, "normalize");
  result.output = "embedding";
  while (output_value(network, result.output) != kNone) result.output += ".pooled";
  network.add_output(result.output, embedding);
  return result;
}

struct EmbedWork : tasks::Work {
  std::vector<float> embedding;
};

class EmbedDriver final : public tasks::Batcher<std::string, std::vector<float>, EmbedWork> {
 public:
  EmbedDriver(const Model& model, const EmbedOptions& options) : EmbedDriver(model, options, embedding_network(model, options)) {}

  EmbedDriver(const Model& model, const EmbedOptions& options, const EmbeddingNetwork& embedding)
      : Batcher(tasks::make_runner(model, embedding.network, options, {embedding.output})),
        output_(embedding.output),
        encoder_(model,
                 std::min(model.info().max_sequence_length.value_or(tasks::longest_text(model)), tasks::longest_text(model)),
                 options.truncate || model.info().max_sequence_length.has_value()),
        lower_case_(model.info().lower_case) {}

 protected:
  EmbedWork prepare(const std::string& text) const override {
    EmbedWork work;
    work.sequences.push_back(encoder_.sequence(encoder_.encode(lower_case_ ? tasks::lower_case(text) : text)));
    return work;
  }

  void read(EmbedWork& work, size_t, const tasks::SequenceOutputs& outputs) const override {
    const std::span<const float> values = outputs.values(output_);
    work.embedding.assign(values.begin(), values.end());
  }

  std::vector<float> finish(const std::string&, EmbedWork&& work) const override { return std::move(work.embedding); }

 private:
  std::string output_;
  tasks::TextEncoder encoder_;
  bool lower_case_;
};

}  // namespace

Embed::Embed(const Model& model, const EmbedOptions& options) : Task(std::make_unique<EmbedDriver>(model, options)) {}

int64_t Embed::width() const {
  const Network& network = engine().network();
  return network.value(network.outputs()[0].value).shape.back().size;
}

}  // namespace bertie
