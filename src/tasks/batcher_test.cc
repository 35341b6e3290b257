#include "tasks/batcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "bertie/bertie.h"
#include "tasks/task_model.h"

namespace bertie::tasks {
namespace {

const Model& embed_model() {
  static const Model model = Model::load("tests/data/tasks/bert_embed");
  return model;
}

using Embedding = Result<std::vector<float>>;

std::string numbered(size_t i) { return std::string(1 + 7 * i % 40, 'x') + " text " + std::to_string(i); }

TEST(Batcher, StreamKeepsOrderAndEqualsSingles) {
  Embed embed(embed_model());
  size_t given = 0, taken = 0;
  std::vector<std::vector<float>> some;
  embed.stream(
      [&](std::string& text, bool) {
        if (given == 500) return Pull::end;
        text = numbered(given++);
        return Pull::item;
      },
      [&](std::string&& text, Embedding&& result) {
        EXPECT_EQ(text, numbered(taken));
        if (taken % 100 == 0) some.push_back(result.value());
        ++taken;
      });
  EXPECT_EQ(taken, 500u);
  for (size_t i = 0; i < some.size(); ++i) EXPECT_EQ(embed.run(numbered(100 * i)), some[i]);
  EXPECT_EQ(embed.times().items, 505);
}

TEST(Batcher, EmptyStream) {
  Embed embed(embed_model());
  embed.stream([](std::string&, bool) { return Pull::end; }, [](std::string&&, Embedding&&) { FAIL(); });
  EXPECT_TRUE(embed.run(std::span<const std::string>()).empty());
}

TEST(Batcher, ErrorsStayWithTheirItems) {
  Embed embed(embed_model());
  int pulled = 0;
  std::vector<bool> good;
  embed.stream(
      [&](std::string& text, bool) {
        text = pulled == 1 ? "\xff" : "fine";
        switch (pulled++) {
          case 3: throw Error(ErrorCode::invalid_text, "the source's own");
          case 5: return Pull::end;
          default: return Pull::item;
        }
      },
      [&](std::string&&, Embedding&& result) { good.push_back(result.ok()); });
  EXPECT_EQ(good, (std::vector<bool>{true, false, true, false, true}));
  EXPECT_THROW(embed.run("\xff"), Error);
}

TEST(Batcher, AnswersBeforeItWaits) {
  Embed embed(embed_model());
  int calls = 0, answered = 0;
  embed.stream(
      [&](std::string& text, bool may_wait) {
        text = "one";
        if (calls == 2) {
          if (!may_wait) return Pull::later;
          EXPECT_EQ(answered, 2);
        }
        return calls++ == 3 ? Pull::end : Pull::item;
      },
      [&](std::string&&, Embedding&&) { ++answered; });
  EXPECT_EQ(answered, 3);
}

TEST(Batcher, CancelledAfterWhatIsReady) {
  Embed embed(embed_model());
  int answered = 0;
  const auto endless = [](std::string& text, bool) {
    text = "again";
    return Pull::item;
  };
  try {
    embed.stream(
        endless, [&](std::string&&, Embedding&&) { ++answered; }, [&] { return answered > 100; });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
  }
  EXPECT_GT(answered, 100);
  EXPECT_TRUE(embed.run("still usable").size() == 32);
}

TEST(Batcher, ThroughputModeGivesTheSameAnswersInOrder) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < 300; ++i) texts.push_back(i == 7 ? "\xff" : numbered(i));
  Embed together(embed_model());
  const auto expected = together.run(std::span<const std::string>(texts));
  for (int threads : {1, 2, 5}) {
    for (bool pin : {false, true}) {
      EmbedOptions options;
      options.threads = threads;
      options.pin = pin;
      options.mode = Mode::throughput;
      Embed alone(embed_model(), options);
      const auto found = alone.run(std::span<const std::string>(texts));
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_EQ(found[i].ok(), expected[i].ok()) << i;
        if (!found[i].ok()) continue;
        EXPECT_EQ(found[i].value(), expected[i].value()) << i << " on " << threads;
      }
      EXPECT_EQ(alone.times().sequences, 299);
    }
  }
}

TEST(Batcher, ThroughputModeIsCancelledToo) {
  EmbedOptions options;
  options.threads = 3;
  options.mode = Mode::throughput;
  Embed embed(embed_model(), options);
  int answered = 0;
  const auto endless = [](std::string& text, bool) {
    text = "again";
    return Pull::item;
  };
  EXPECT_THROW(embed.stream(
                   endless, [&](std::string&&, Embedding&&) { ++answered; }, [&] { return answered > 100; }),
               Error);
  EXPECT_GT(answered, 100);
  EXPECT_EQ(embed.run("still usable").size(), 32u);
}

// Several sessions: each sequence is read once, one at a time, in the mode's own batches; what a reader throws ends the run.
TEST(BatchRunner, ReadersTakeTurns) {
  TaskOptions options;
  options.threads = 4;
  options.mode = Mode::throughput;
  BatchRunner runner = make_runner(embed_model(), embed_model().network(), options, {"last_hidden_state"});
  std::vector<Sequence> sequences(200);
  for (size_t i = 0; i < sequences.size(); ++i) sequences[i].ids.assign(1 + i % 50, 7);
  std::vector<const Sequence*> pointers;
  for (const Sequence& sequence : sequences) pointers.push_back(&sequence);
  std::vector<int> reads(sequences.size(), 0);
  std::atomic<int> readers = 0;
  const auto read = [&](size_t index, const SequenceOutputs& outputs) {
    EXPECT_EQ(++readers, 1);
    EXPECT_EQ(outputs.values("last_hidden_state").size(), sequences[index].ids.size() * 32);
    ++reads[index];
    --readers;
  };
  const auto failed = [](size_t, const Error& error) { FAIL() << error.what(); };
  EXPECT_TRUE(runner.run(pointers, read, failed, {}));
  EXPECT_EQ(reads, std::vector<int>(sequences.size(), 1));
  EXPECT_GE(runner.times().batches, 8);  // more than sessions: 5,100 tokens

  int before = 0;
  const auto broken = [&](size_t, const SequenceOutputs&) {
    if (++before == 20) throw std::runtime_error("the reader's own");
  };
  EXPECT_THROW(runner.run(pointers, broken, failed, {}), std::runtime_error);
  EXPECT_EQ(before, 20);
  EXPECT_TRUE(runner.run({}, read, failed, {}));
}

class BatchRunnerTest : public testing::TestWithParam<Mode> {};
INSTANTIATE_TEST_SUITE_P(Modes, BatchRunnerTest, testing::Values(Mode::latency, Mode::throughput),
                         [](const auto& info) { return info.param == Mode::latency ? "latency" : "throughput"; });

TEST_P(BatchRunnerTest, OneBadSequenceFailsAlone) {
  TaskOptions options;
  options.threads = 2;
  options.mode = GetParam();
  BatchRunner runner = make_runner(embed_model(), embed_model().network(), options, {"last_hidden_state"});
  std::vector<Sequence> sequences(5);
  for (size_t i = 0; i < sequences.size(); ++i) sequences[i].ids.assign(3 + i, 7);
  sequences[2].ids[1] = 700;  // out of the vocabulary
  std::vector<const Sequence*> pointers;
  for (const Sequence& sequence : sequences) pointers.push_back(&sequence);
  std::vector<int> state(5, 0);
  runner.run(
      pointers,
      [&](size_t index, const SequenceOutputs& outputs) {
        EXPECT_EQ(outputs.values("last_hidden_state").size(), sequences[index].ids.size() * 32);
        EXPECT_THROW(outputs.values("logits"), Error);
        state[index] += 1;
      },
      [&](size_t index, const Error&) { state[index] -= 1; }, {});
  EXPECT_EQ(state, (std::vector<int>{1, 1, -1, 1, 1}));
}

TEST(BatchRunner, SessionsGrowAndBudgetsSplit) {
  TaskOptions options;
  options.token_budget = 16;
  BatchRunner runner = make_runner(embed_model(), embed_model().network(), options, {"last_hidden_state"});
  const auto run = [&](std::vector<size_t> lengths) {
    std::vector<Sequence> sequences(lengths.size());
    std::vector<const Sequence*> pointers;
    for (size_t i = 0; i < lengths.size(); ++i) {
      sequences[i].ids.assign(lengths[i], 7);
      pointers.push_back(&sequences[i]);
    }
    size_t read = 0;
    EXPECT_TRUE(runner.run(
        pointers, [&](size_t, const SequenceOutputs&) { ++read; }, [](size_t, const Error& e) { FAIL() << e.what(); }, {}));
    EXPECT_EQ(read, lengths.size());
  };
  run({4});
  EXPECT_EQ(runner.times().batches, 1);
  const size_t small = runner.workspace_bytes();
  run({8, 8, 8, 100});  // longer than the budget: a batch by itself
  EXPECT_EQ(runner.times().batches, 4);
  EXPECT_GT(runner.workspace_bytes(), small);
  const size_t grown = runner.workspace_bytes();
  run({100, 3, 2});
  EXPECT_EQ(runner.workspace_bytes(), grown);
  run({});
}

}  // namespace
}  // namespace bertie::tasks
