// `bertie run`: texts through a task, or tensors through the network.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "options.h"

namespace bertie::cli {

struct RunOptions {
  CommonOptions common;
  // Tasks.
  std::string task;
  std::vector<std::string> texts;
  std::string file;
  std::optional<int> top_k;
  std::string question, context, query, text_pair;
  bool has_question = false, has_context = false, has_query = false, has_text_pair = false;
  bool truncate = false;
  int64_t token_budget = 0;
  std::string grouping = "simple";
  std::string function = "auto";
  std::string pooling;
  bool scale = false, no_scale = false;  // --normalize, --no-normalize
  std::optional<bool> normalize;
  std::string output;  // embed: an .npy file
  int max_answer = 15;
  int64_t window = 0, overlap = 0;
  bool allow_no_answer = false;
  // Tensors.
  std::vector<std::string> inputs;  // NAME=FILE.npy
  std::string output_dir;
};

int run_task(const RunOptions& options);
int run_tensors(const RunOptions& options);

}  // namespace bertie::cli
