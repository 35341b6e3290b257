// A Hugging Face folder's tokenizer as the text of one tokenizer.json.
#pragma once

#include <string>

namespace bertie::text {

// `path` is a folder or a tokenizer.json. What tokenizer_config.json and special_tokens_map.json state stands in the result
// under kFolderKey, which Hugging Face ignores: {"mask_token", "pad_token", "unk_token", "model_max_length"}.
// Without tokenizer.json it is made from vocab.txt (BERT, MPNet) or vocab.json and merges.txt (RoBERTa).
// `file` is set to the file that errors should name. Throws Error(not_found, io, invalid_file, unsupported).
std::string read_tokenizer(const std::string& path, std::string& file);

inline constexpr const char* kFolderKey = "bertie";

}  // namespace bertie::text
