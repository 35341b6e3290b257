#include "export_demo.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <vector>

#include "base/error.h"
#include "formats/npy.h"
#include "run.h"

namespace bertie::cli {
namespace {

// The ids of one row, without padding.
struct Row {
  std::vector<int64_t> ids, types;
};

std::array<Row, 2> encoded(const Model& model) {
  const auto tokenizer = model.tokenizer();
  const std::string last = tokenizer->mask_token().value_or("Paris");
  const std::array<std::string, 2> texts = {"The capital of France is " + last + ".", "Hello, world!"};
  std::array<Row, 2> rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Encoding encoding = tokenizer->encode(texts[i]);
    rows[i] = {{encoding.ids.begin(), encoding.ids.end()}, {encoding.type_ids.begin(), encoding.type_ids.end()}};
  }
  return rows;
}

std::array<Row, 2> made_up(const ModelInfo& info) {
  const int64_t vocabulary = std::max<int64_t>(info.vocabulary, 4);
  std::array<Row, 2> rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t k = 0; k < (i == 0 ? 9 : 5); ++k) rows[i].ids.push_back((7 + 11 * k + 5 * static_cast<int64_t>(i)) % vocabulary);
    rows[i].types.assign(rows[i].ids.size(), 0);
  }
  return rows;
}

std::array<Row, 2> sample_rows(const Model& model) {
  std::array<Row, 2> rows;
  try {
    rows = encoded(model);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    rows = made_up(model.info());
  }
  if (model.info().max_positions > 0) {
    for (Row& row : rows) {
      row.ids.resize(std::min(row.ids.size(), static_cast<size_t>(model.info().max_positions)));
      row.types.resize(row.ids.size());
    }
  }
  return rows;
}

// What each input holds, [2, sequence], by its role.
std::map<InputRole, std::vector<int64_t>> padded(const Model& model, const std::array<Row, 2>& rows, size_t sequence) {
  const PositionRule rule = model.network().position_rule().value_or(PositionRule{});
  const int64_t padding = std::max<int64_t>(rule.padding_id, model.info().pad_id.value_or(0));
  std::map<InputRole, std::vector<int64_t>> inputs;
  for (const Row& row : rows) {
    int64_t counted = 0;
    for (size_t i = 0; i < sequence; ++i) {
      const bool there = i < row.ids.size();
      const int64_t id = there ? row.ids[i] : padding;
      const bool uncounted = rule.padding_id >= 0 && id == rule.padding_id;
      inputs[InputRole::token_ids].push_back(id);
      inputs[InputRole::attention_mask].push_back(there ? 1 : 0);
      inputs[InputRole::type_ids].push_back(there ? row.types[i] : 0);
      inputs[InputRole::position_ids].push_back(uncounted ? rule.padding_id : rule.first + counted);
      if (!uncounted) ++counted;
    }
  }
  return inputs;
}

}  // namespace

void write_demo(const CommonOptions& common, const Model& model, const std::string& folder, bool position_ids) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) fail(ErrorCode::io, "cannot make the folder {}: {}", folder, failed.message());
  const std::array<Row, 2> rows = sample_rows(model);
  const size_t sequence = std::max(rows[0].ids.size(), rows[1].ids.size());
  const auto values = padded(model, rows, sequence);
  RunOptions run;
  run.common = common;
  run.output_dir = folder;
  for (ValueId input : model.network().inputs()) {
    const Value& value = model.network().value(input);
    const auto found = values.find(value.role);
    if (found == values.end()) {
      fail(ErrorCode::unsupported, "--demo: what the input '{}' holds is not known", value.name);
    }
    if (value.role == InputRole::position_ids && !position_ids) continue;
    const Tensor tensor = Tensor::from_int64s({2, static_cast<int64_t>(sequence)}, found->second);
    const std::string path = (std::filesystem::path(folder) / (value.name + ".npy")).string();
    write_npy(path, tensor.view());
    run.inputs.push_back(value.name + "=" + path);
  }
  run_tensors(run);
}

}  // namespace bertie::cli
