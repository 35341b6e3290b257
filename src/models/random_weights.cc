#include "models/random_weights.h"

#include <charconv>
#include <cmath>

#include "base/error.h"

namespace bertie::models {
namespace {

// splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Nearly normal, mean 0 and deviation 1: the sum of four uniform numbers, far cheaper than an exact draw.
  float normal() {
    const uint64_t bits = next();
    const uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    constexpr float kDeviation = 37837.227f;  // sqrt(4 * (2^32 - 1) / 12)
    return (static_cast<float>(sum) - 131070.0f) / kDeviation;
  }

 private:
  uint64_t state_;
};

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

class Drawer {
 public:
  explicit Drawer(uint64_t seed) : seed_(seed) {}

  void draw(const std::string& name, const Shape& shape, float mean, float deviation) {
    fill(name, shape, [&](Random& random) { return mean + deviation * random.normal(); });
  }
  // A trained LayerNorm: most channels alike, about one in 128 far off.
  void draw_norm(const std::string& name, int64_t width) {
    fill(name + ".weight", Shape{width}, [](Random& random) {
      const bool outlier = random.next() % 128 == 0;
      return outlier ? 3.0f + random.normal() : 0.9f + 0.08f * random.normal();
    });
    fill(name + ".bias", Shape{width}, [](Random& random) {
      const bool outlier = random.next() % 128 == 0;
      return outlier ? random.normal() : 0.08f * random.normal();
    });
  }
  void draw_linear(const std::string& name, int64_t out, int64_t in, float deviation) {
    draw(name + ".weight", Shape{out, in}, 0, deviation);
    draw(name + ".bias", Shape{out}, 0, 0.06f);
  }
  TensorMap take() { return std::move(tensors_); }

 private:
  template <typename Value>
  void fill(const std::string& name, const Shape& shape, Value value) {
    Random random(seed_ ^ fnv1a(name));
    const size_t count = static_cast<size_t>(shape.elements());
    std::shared_ptr<float[]> values(new float[count]);
    for (size_t i = 0; i < count; ++i) values[i] = value(random);
    Tensor tensor{DType::f32, shape, std::shared_ptr<const void>(values, values.get())};
    tensors_[name] = {"F32", {shape.begin(), shape.end()}, std::move(tensor)};
  }

  uint64_t seed_;
  TensorMap tensors_;
};

}  // namespace

HuggingFaceConfig config_of_spec(const std::string& spec) {
  std::string sizes = spec;
  if (spec == "base") sizes = "12,768,12,3072";
  if (spec == "large") sizes = "24,1024,16,4096";
  if (spec == "minilm") sizes = "6,384,12,1536";
  HuggingFaceConfig config;
  config.file = "random model '" + spec + "'";
  config.model_type = "bert";
  config.architecture = "BertModel";
  config.vocabulary = 30522;
  int64_t* const fields[] = {&config.layers, &config.hidden_size, &config.heads, &config.intermediate_size};
  constexpr int64_t kMaxSize = 1 << 16;
  const char* next = sizes.data();
  const char* const end = next + sizes.size();
  bool good = true;
  for (int64_t* field : fields) {
    if (field != fields[0]) good = good && next != end && *next++ == ',';
    const auto [stop, error] = std::from_chars(next, end, *field);
    good = good && error == std::errc() && *field >= (field == fields[0] ? 0 : 1) && *field <= kMaxSize;
    next = stop;
  }
  if (!good || next != end || config.hidden_size % config.heads != 0) {
    fail(ErrorCode::invalid_argument,
         "random model '{}': must be base, large, minilm or L,H,A,F (layers, hidden size, heads, feed-forward size; H a multiple "
         "of A)",
         spec);
  }
  return config;
}

TensorMap draw_bert_weights(const HuggingFaceConfig& config, uint64_t seed) {
  Drawer drawer(seed);
  const int64_t hidden = config.hidden_size;
  // BERT's own deviations are 0.04 at a width of 768; narrower models' are larger in proportion.
  const auto deviation = static_cast<float>(0.04 * std::sqrt(768.0 / static_cast<double>(hidden)));
  drawer.draw("embeddings.word_embeddings.weight", Shape{config.vocabulary, hidden}, -0.03f, 0.04f);
  drawer.draw("embeddings.position_embeddings.weight", Shape{config.max_position_embeddings, hidden}, 0, 0.02f);
  drawer.draw("embeddings.token_type_embeddings.weight", Shape{config.type_vocabulary, hidden}, 0, 0.01f);
  drawer.draw_norm("embeddings.LayerNorm", hidden);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = "encoder.layer." + std::to_string(layer) + ".";
    for (const char* name : {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"}) {
      drawer.draw_linear(prefix + name, hidden, hidden, deviation);
    }
    drawer.draw_norm(prefix + "attention.output.LayerNorm", hidden);
    drawer.draw_linear(prefix + "intermediate.dense", config.intermediate_size, hidden, deviation);
    drawer.draw_linear(prefix + "output.dense", hidden, config.intermediate_size, deviation);
    drawer.draw_norm(prefix + "output.LayerNorm", hidden);
  }
  return drawer.take();
}

}  // namespace bertie::models
