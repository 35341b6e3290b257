// Every family as an engine file: the same answers, bit for bit, as from the folder; constants stored once; the passes change
// nothing on what is loaded.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/temporary_folder_test.h"
#include "bertie/base.h"
#include "bertie/engine.h"
#include "bertie/model.h"
#include "formats/json.h"
#include "formats/safetensors.h"

namespace bertie {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "tests/data/families";

std::vector<std::string> family_folders() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kFolder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Three sequences of ids that every test model has.
struct Input {
  std::vector<int32_t> ids = {2, 5, 7, 3, 2, 9, 3, 4, 2, 6}, lengths = {0, 4, 9, 10}, rows = {1, 5, 9};
  Batch batch() const { return {.token_ids = ids, .cumulative_lengths = lengths, .head_rows = rows}; }
};

std::map<std::string, std::vector<float>> outputs_of(const Network& network, const EngineOptions& options) {
  Session session(Engine::build(network, options));
  const Input input;
  session.run(input.batch());
  std::map<std::string, std::vector<float>> outputs;
  for (const Network::Output& output : session.engine().network().outputs()) {
    const TensorView view = session.output(output.name);
    outputs[output.name].assign(view.as<float>(), view.as<float>() + view.shape.elements());
  }
  return outputs;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

class EngineFiles : public testing::TestWithParam<std::string>, protected TemporaryFolder {
 protected:
  std::string file_ = path("x.bertie");
};

TEST_P(EngineFiles, AnswersAreBitIdenticalToTheFolders) {
  const Model source = Model::load(std::string(kFolder) + "/" + GetParam());
  save_engine(source, file_, {.threads = 1});
  const Model loaded = Model::load(file_);
  EXPECT_EQ(loaded.info().source, file_);
  for (const char* device : {"cpu", "reference"}) {
    const EngineOptions options{.device = device, .threads = 1};
    const auto expected = outputs_of(source.network(), options), actual = outputs_of(loaded.network(), options);
    ASSERT_EQ(actual.size(), expected.size());
    for (const auto& [name, values] : expected) EXPECT_TRUE(same_bits(actual.at(name), values)) << device << " " << name;
  }
  // A task's own choice of outputs and rows.
  for (const Network::Output& output : source.network().outputs()) {
    EngineOptions options{.threads = 1, .outputs = {output.name}};
    const SymbolicShape& shape = source.network().value(output.value).shape;
    if (shape.size() == 3 && shape[1] == Dim("sequence")) options.select_rows = {output.name};
    const auto expected = outputs_of(source.network(), options), actual = outputs_of(loaded.network(), options);
    EXPECT_TRUE(same_bits(actual.at(output.name), expected.at(output.name))) << output.name;
  }
}

// A file in bfloat16 holds rounded weights and runs in nothing else: the bits of the folder's run, which rows kept in bfloat16 between
// layers (pass keep_bf16_rows) do not change.
TEST_P(EngineFiles, Bfloat16IsHeldAndGivesTheFoldersBits) {
  const Model source = Model::load(std::string(kFolder) + "/" + GetParam());
  for (const char* device : {"cpu", "reference"}) {
    const EngineOptions options{.device = device, .precision = "bf16", .threads = 1};
    std::map<std::string, std::vector<float>> expected;
    try {
      expected = outputs_of(source.network(), options);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("precision 'bf16': device cpu has"), std::string::npos) << error.what();
      continue;
    }
    save_engine(source, file_, options);
    const Model loaded = Model::load(file_);
    EngineOptions floats = options;
    floats.disabled_passes = {"keep_bf16_rows"};
    const auto held = outputs_of(loaded.network(), {.device = device, .threads = 1});
    const auto through_floats = outputs_of(source.network(), floats);
    for (const auto& [name, values] : expected) {
      EXPECT_TRUE(same_bits(held.at(name), values)) << device << " " << name;
      EXPECT_TRUE(same_bits(through_floats.at(name), values)) << device << " " << name;
    }
  }
}

TEST_P(EngineFiles, PassesThatRewriteFindNothingLeft) {
  const Model source = Model::load(std::string(kFolder) + "/" + GetParam());
  save_engine(source, file_, {.threads = 1});
  const auto before = Engine::build(source.network(), {.threads = 1});
  const auto after = Engine::build(Model::load(file_).network(), {.threads = 1});
  for (const PassReport& pass : after->passes()) {
    if (pass.name == "remove_padding" || pass.name == "select_rows") break;
    EXPECT_EQ(pass.matches, 0) << pass.name;
  }
  ASSERT_EQ(after->steps().size(), before->steps().size());
  for (size_t i = 0; i < before->steps().size(); ++i) {
    EXPECT_EQ(after->steps()[i].name, before->steps()[i].name);
    EXPECT_EQ(after->steps()[i].kernel, before->steps()[i].kernel);
    EXPECT_EQ(after->steps()[i].output_shape, before->steps()[i].output_shape);
  }
}

TEST_P(EngineFiles, WhatIsKnownOfTheModelIsKept) {
  const Model source = Model::load(std::string(kFolder) + "/" + GetParam());
  save_engine(source, file_, {.threads = 1});
  const Model loaded = Model::load(file_);
  const ModelInfo &a = source.info(), &b = loaded.info();
  EXPECT_EQ(a.family, b.family);
  EXPECT_EQ(a.architecture, b.architecture);
  EXPECT_EQ(std::tie(a.layers, a.hidden_size, a.heads, a.head_dim, a.ffn, a.vocabulary, a.max_positions, a.type_vocabulary),
            std::tie(b.layers, b.hidden_size, b.heads, b.head_dim, b.ffn, b.vocabulary, b.max_positions, b.type_vocabulary));
  EXPECT_EQ(std::tie(a.pad_id, a.labels, a.problem_type, a.score_activation, a.tasks, a.max_sequence_length, a.lower_case,
                     a.squeezed_outputs, a.parameters, a.surplus_tensors),
            std::tie(b.pad_id, b.labels, b.problem_type, b.score_activation, b.tasks, b.max_sequence_length, b.lower_case,
                     b.squeezed_outputs, b.parameters, b.surplus_tensors));
  ASSERT_EQ(a.pooling.has_value(), b.pooling.has_value());
  if (a.pooling) {
    EXPECT_EQ(a.pooling->mode, b.pooling->mode);
    EXPECT_EQ(a.pooling->normalize, b.pooling->normalize);
    ASSERT_EQ(a.pooling->dense.size(), b.pooling->dense.size());
    for (size_t i = 0; i < a.pooling->dense.size(); ++i) {
      EXPECT_EQ(a.pooling->dense[i].in_features, b.pooling->dense[i].in_features);
      EXPECT_EQ(a.pooling->dense[i].out_features, b.pooling->dense[i].out_features);
      EXPECT_EQ(a.pooling->dense[i].activation, b.pooling->dense[i].activation);
    }
  }
  EXPECT_EQ(source.network().position_rule(), loaded.network().position_rule());

  const nlohmann::json provenance = parse_json(loaded.provenance(), "provenance");
  EXPECT_EQ(provenance["bertie"], version());
  ASSERT_EQ(provenance["sources"].size(), a.files.size());
  EXPECT_GT(a.files.size(), 1u);
  for (const auto& file : provenance["sources"]) {
    const std::string path = std::string(kFolder) + "/" + GetParam() + "/" + file["file"].get<std::string>();
    EXPECT_EQ(file["bytes"], fs::file_size(path)) << path;
    EXPECT_EQ(file["xxh3_128"].get<std::string>().size(), 32u);
  }
}

// The bytes stored are at most those of the tensors in use, panels filled up to sixteen rows; shared ones count once.
TEST_P(EngineFiles, ConstantsAreStoredOnce) {
  const Model source = Model::load(std::string(kFolder) + "/" + GetParam());
  save_engine(source, file_, {.threads = 1});
  const Model loaded = Model::load(file_);
  std::map<const void*, size_t> stored;
  size_t panels = 0;
  for (size_t i = 0; i < loaded.network().value_count(); ++i) {
    const auto& constant = loaded.network().value(static_cast<ValueId>(i)).constant;
    if (!constant) continue;
    if (constant->layout != TensorLayout::rows) ++panels;
    stored[constant->data.get()] = static_cast<size_t>(constant->shape.elements());
  }
  size_t elements = 0;
  for (const auto& [data, count] : stored) elements += count;
  // merge_qkv may fill in an absent bias; nothing else is added.
  EXPECT_LE(elements, static_cast<size_t>(source.info().parameters) + 4096);
  if (source.info().layers > 0) {
    EXPECT_GT(panels, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EngineFiles, testing::ValuesIn(family_folders()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace bertie
