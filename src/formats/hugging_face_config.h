// A Hugging Face folder's config.json as a plain struct.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bertie {

// Fields that config.json leaves out have the value transformers gives them, or none where that depends on the family.
struct HuggingFaceConfig {
  std::string file;  // for errors
  std::string model_type;
  std::string architecture;  // the first of `architectures`; empty where there is none
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t intermediate_size = 0;
  int64_t vocabulary = 0;
  std::optional<int64_t> embedding_size;  // width of the embedding tables, where it is stated
  int64_t max_position_embeddings = 512;  // rows of the position table
  int64_t type_vocabulary = 2;
  std::optional<int64_t> pad_token_id;
  std::optional<std::string> hidden_act;
  double layer_norm_eps = 1e-12;
  bool tie_word_embeddings = true;
  int64_t hidden_groups = 1;        // ALBERT: groups of layers that share weights
  int64_t inner_groups = 1;         // ALBERT: layers in a group
  std::string problem_type;         // empty where it is not stated
  std::vector<std::string> labels;  // id2label in order of the ids; LABEL_0, LABEL_1 where it is not stated
  std::string score_activation;     // a cross-encoder's: "torch.nn.modules.linear.Identity"; empty where it is not stated
};

// `text` is config.json's content, `file` its name in errors. Throws Error(invalid_file) naming the field, and Error(unsupported)
// for what would compute something other than a bidirectional encoder with absolute positions.
HuggingFaceConfig parse_hugging_face_config(std::string_view text, const std::string& file);

}  // namespace bertie
