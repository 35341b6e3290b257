#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/mapped_file.h"
#include "base/message_of_test.h"
#include "base/temporary_folder_test.h"
#include "bertie/engine.h"
#include "bertie/model.h"
#include "cpu/isa.h"
#include "formats/json.h"

namespace bertie {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kMasked = "tests/data/families/bert_masked";
constexpr const char* kBundled = "models/minilm-l6-mlm";

class SaveEngine : public testing::Test, protected TemporaryFolder {
 protected:
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }
};

std::vector<float> logits(const Network& network) {
  Session session(Engine::build(network, {.threads = 1, .outputs = {"logits"}}), {.tokens = 16, .sequences = 2, .longest = 16});
  const std::vector<int32_t> ids = {2, 5, 7, 9, 3}, lengths = {0, 3, 5};
  session.run({.token_ids = ids, .cumulative_lengths = lengths});
  const TensorView view = session.output("logits");
  return {view.as<float>(), view.as<float>() + view.shape.elements()};
}

TEST_F(SaveEngine, TheSameBytesEachTimeFromAnyFolderInstructionSetAndThreadCount) {
  save_engine(Model::load(kMasked), path("first"), {.threads = 1});
  const std::string first = read_text_file(path("first"));
  fs::copy(kMasked, path("elsewhere"));
  save_engine(Model::load(path("elsewhere")), path("second"), {.threads = 3});
  EXPECT_TRUE(read_text_file(path("second")) == first);
  const std::string before = std::getenv("BERTIE_ISA") ? std::getenv("BERTIE_ISA") : "";
  for (const cpu::Isa& isa : cpu::available_isas()) {
    setenv("BERTIE_ISA", std::string(isa.name).c_str(), 1);
    save_engine(Model::load(kMasked), path("other"), {});
    EXPECT_TRUE(read_text_file(path("other")) == first) << isa.name;
  }
  setenv("BERTIE_ISA", before.c_str(), 1);
}

TEST_F(SaveEngine, AnEngineFileBuiltAgainIsTheSameFile) {
  save_engine(Model::load(kMasked), path("first"));
  save_engine(Model::load(path("first")), path("second"));
  EXPECT_TRUE(read_text_file(path("second")) == read_text_file(path("first")));
  // Over itself, while it is mapped.
  const Model mapped = Model::load(path("first"));
  save_engine(mapped, path("first"));
  EXPECT_EQ(logits(mapped.network()), logits(Model::load(path("first")).network()));
}

TEST_F(SaveEngine, SharedTensorsStayShared) {
  save_engine(Model::load(kMasked), path("x"));
  const Model loaded = Model::load(path("x"));
  const Network& network = loaded.network();
  const void *table = nullptr, *decoder = nullptr;
  for (const NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (node.op == "embedding_layer_norm") table = network.value(node.input(3)).constant->data.get();
    if (node.op == "linear") decoder = network.value(node.input(1)).constant->data.get();  // the last one
  }
  EXPECT_NE(table, nullptr);
  EXPECT_EQ(table, decoder);
}

TEST_F(SaveEngine, OutputsAndRowsCannotBeChosen) {
  const Model model = Model::load(kMasked);
  EXPECT_THAT(message_of([&] { save_engine(model, path("x"), {.outputs = {"logits"}}); }), HasSubstr("keeps every output"));
  EXPECT_THAT(message_of([&] { save_engine(model, path("x"), {.select_rows = {"logits"}}); }), HasSubstr("every row"));
  EXPECT_THAT(message_of([&] { save_engine(model, path("x"), {.precision = "fp8"}); }), HasSubstr("precision 'fp8'"));
  EXPECT_TRUE(names().empty());
}

TEST_F(SaveEngine, AFullDiskLeavesWhatWasThere) {
  const Model model = Model::load(kMasked);
  std::ofstream(path("x")) << "old";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{20000, 20000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = message_of([&] { save_engine(model, path("x"), {.threads = 1}); });
    ::_exit(message == path("x") + ": File too large" ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_text_file(path("x")), "old");
  EXPECT_THAT(names(), ElementsAre("x"));
}

TEST_F(SaveEngine, AKilledBuildLeavesNothing) {
  const Model model = Model::load(kMasked);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    save_engine(model, path("x"), {.threads = 1}, [](uint64_t, uint64_t) { ::kill(::getpid(), SIGKILL); });
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(names().empty());
}

// Kilobytes of a line of /proc/self/status.
size_t status_kilobytes(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return std::strtoul(line.c_str() + name.size() + 1, nullptr, 10);
  }
  return 0;
}

TEST_F(SaveEngine, WeightsAreUsedWhereTheyAreMapped) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer keeps notes on what is read, in anonymous memory";
#endif
  save_engine(Model::load(kBundled), path("x"));
  const size_t file_kilobytes = fs::file_size(path("x")) / 1024;
  ASSERT_GT(file_kilobytes, 40u * 1024u);
  const pid_t child = ::fork();  // its memory counts alone
  ASSERT_GE(child, 0);
  if (child == 0) {
    const size_t before = status_kilobytes("RssAnon");
    const Model model = Model::load(path("x"));
    Session session(Engine::build(model.network(), {.threads = 1, .outputs = {"logits"}, .select_rows = {"logits"}}),
                    {.tokens = 16, .sequences = 1, .longest = 16, .rows = 1});
    const std::vector<int32_t> ids = {101, 3000, 103, 4000, 102}, lengths = {0, 5}, rows = {2};
    session.run({.token_ids = ids, .cumulative_lengths = lengths, .head_rows = rows});
    const size_t grown = status_kilobytes("RssAnon") - before;
    std::fprintf(stderr, "engine file of %zu KiB: %zu KiB of anonymous memory, %zu KiB mapped\n", file_kilobytes, grown,
                 status_kilobytes("RssFile"));
    ::_exit(grown < file_kilobytes / 8 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SaveEngine, TheTokenizerComesAlong) {
  save_engine(Model::load(kBundled), path("x"));
  const Model source = Model::load(kBundled), loaded = Model::load(path("x"));
  ASSERT_TRUE(loaded.has_tokenizer());
  const auto expected = source.tokenizer(), actual = loaded.tokenizer();
  const std::string text = "Der Fuchs [MASK] über naïve café-owners, didn't he?";
  EXPECT_EQ(actual->encode(text).ids, expected->encode(text).ids);
  EXPECT_EQ(actual->mask_token(), expected->mask_token());
  EXPECT_EQ(actual->pad_id(), expected->pad_id());
  EXPECT_EQ(actual->model_max_length(), expected->model_max_length());
  EXPECT_EQ(actual->json(), expected->json());
  // Another one can be named.
  const Model other = Model::load(path("x"), {.tokenizer = kBundled});
  EXPECT_EQ(other.tokenizer()->encode(text).ids, expected->encode(text).ids);

  save_engine(Model::random("1,16,2,32"), path("bare"));
  EXPECT_FALSE(Model::load(path("bare")).has_tokenizer());
  EXPECT_THAT(message_of([&] { Model::load(path("bare")).tokenizer(); }), HasSubstr("has no tokenizer"));
}

// The whole file's checks have their own test (formats/engine_file_test.cc); here each section's own contents.
TEST_F(SaveEngine, BrokenFilesAreRefusedNamingFileAndSection) {
  save_engine(Model::load(kMasked), path("x"));
  const std::string whole = read_text_file(path("x"));
  const auto refusal = [&](const std::string& bytes) {
    std::ofstream(path("broken"), std::ios::binary) << bytes;
    return message_of([&] { Model::load(path("broken")); });
  };
  for (const char* section : {"provenance", "model", "network", "tensors", "weights"}) {
    const size_t entry = whole.find(std::string(section) + '\0');
    ASSERT_NE(entry, std::string::npos);
    uint64_t offset = 0;
    std::memcpy(&offset, whole.data() + entry + 24, sizeof offset);
    std::string bytes = whole;
    bytes[offset] = static_cast<char>(bytes[offset] ^ 1);
    EXPECT_THAT(refusal(bytes), testing::AllOf(HasSubstr(path("broken")), HasSubstr("section " + std::string(section)),
                                               HasSubstr("altered or damaged")));
    EXPECT_THAT(refusal(whole.substr(0, offset)), HasSubstr("truncated"));
  }
  EXPECT_THAT(refusal("not an engine"), HasSubstr("is no engine file"));
  EXPECT_THAT(refusal(""), HasSubstr("is no engine file"));
}

}  // namespace
}  // namespace bertie
