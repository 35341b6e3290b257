#include "run.h"

#include <memory>

#include "output.h"

namespace bertie::cli {
namespace {

constexpr const char* kRunFooter =
    R"(Texts come from --text, --file or standard input, one a line; lines end at \n. Each is answered in its place: one that
cannot be gives its own error row (or a line on standard error), and the exit status is 1.
  classify  a line {"text":...,"text_pair":...} is a pair
  answer    --question with --context, or JSON lines {"question":...,"context":...}; the answer row gains "answers" where
            --top-k is above 1
  rerank    --query with the texts, or JSON lines {"query":...,"texts":[...]}; the score of one label is its sigmoid, unless
            config.json names the identity (as sentence-transformers' CrossEncoder)
  embed     --output F.npy writes the matrix instead, one row a text, NaN for a text that cannot be answered)";

void check(const RunOptions& options) {
  if (!options.inputs.empty()) {
    if (!options.task.empty()) throw UsageError("--input and --task exclude each other");
    if (options.output_dir.empty()) throw UsageError("--input needs --output-dir");
    return;
  }
  if (!options.output_dir.empty()) throw UsageError("--output-dir needs --input");
  if (options.task.empty()) throw UsageError("--task is required (or --input with --output-dir)");
  if (!options.texts.empty() && !options.file.empty()) throw UsageError("--text and --file exclude each other");
  const auto only = [&](bool given, const char* flag, const char* task) {
    if (given && options.task != task) throw UsageError(std::string(flag) + " is for --task " + task);
  };
  only(options.has_question, "--question", "answer");
  only(options.has_context, "--context", "answer");
  only(options.has_query, "--query", "rerank");
  only(options.has_text_pair, "--text-pair", "classify");
  only(!options.output.empty(), "--output", "embed");
  only(!options.pooling.empty(), "--pooling", "embed");
  only(options.normalize.has_value(), "--normalize", "embed");
  if (options.has_context && !options.has_question) throw UsageError("--context needs --question");
  if (options.has_context && (!options.texts.empty() || !options.file.empty())) {
    throw UsageError("--context excludes --text and --file");
  }
  if (options.has_text_pair && options.texts.size() != 1) throw UsageError("--text-pair needs one --text");
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  auto options = std::make_shared<RunOptions>();
  CLI::App& command = *app.add_subcommand("run", "Answer texts, or run tensors through the network");
  command.footer(kRunFooter);
  RunOptions& o = *options;
  o.common.add_model(command);
  command.add_option("--task", o.task, "fill-mask, classify, tag, answer, embed or rerank")
      ->check(CLI::IsMember({"fill-mask", "classify", "tag", "answer", "embed", "rerank"}));
  add_texts(command, "--text", o.texts, "A text; may be given several times");
  command.add_option("--file", o.file, "One text a line; - is standard input");
  command.add_option("--top-k", o.top_k, "Candidates a mask (default 10); labels, ranks (default all) or answers (default 1)")
      ->check(CLI::Range(1, 1 << 20));
  auto* question = command.add_option("--question", o.question, "answer: the question");
  auto* context = command.add_option("--context", o.context, "answer: the text that holds the answer");
  auto* query = command.add_option("--query", o.query, "rerank: what the texts are ranked for");
  auto* pair = command.add_option("--text-pair", o.text_pair, "classify: the second text of a pair");
  command.add_flag("--truncate", o.truncate, "Cut texts longer than the model takes, instead of an error");
  command.add_option("--batch-tokens", o.token_budget, "Tokens packed into one batch")->check(CLI::Range(1, 1 << 24));
  command.add_option("--group", o.grouping, "tag: none, simple (default), first, average or max")
      ->check(CLI::IsMember({"none", "simple", "first", "average", "max"}));
  command.add_option("--function", o.function, "classify: auto (default), softmax, sigmoid or none")
      ->check(CLI::IsMember({"auto", "softmax", "sigmoid", "none"}));
  command.add_option("--pooling", o.pooling, "embed: mean, cls, max or mean_sqrt_length, instead of the folder's own")
      ->check(CLI::IsMember({"mean", "cls", "max", "mean_sqrt_length"}));
  auto* normalize = command.add_flag("--normalize", o.scale, "embed: scale to length 1, whatever the folder says");
  command.add_flag("--no-normalize", o.no_scale, "embed: do not scale, whatever the folder says")->excludes(normalize);
  command.add_option("--output", o.output, "embed: write the matrix to this .npy file");
  command.add_option("--max-answer", o.max_answer, "answer: longest answer in tokens (default 15)")
      ->check(CLI::Range(1, 1 << 20));
  command.add_option("--window", o.window, "answer: tokens of one window (default at most 384)")->check(CLI::Range(1, 1 << 20));
  command.add_option("--overlap", o.overlap, "answer: tokens that windows share (default at most 128)")
      ->check(CLI::Range(1, 1 << 20));
  command.add_flag("--allow-no-answer", o.allow_no_answer, "answer: an empty answer may win");
  add_texts(command, "--input", o.inputs, "NAME=FILE.npy: a padded [batch, sequence] input; may be given several times");
  command.add_option("--output-dir", o.output_dir, "Where every network output goes, as NAME.npy");
  o.common.add_tokenizer(command);
  o.common.add_device(command);
  o.common.add_mode(command);
  o.common.add_output(command);
  command.callback([options, question, context, query, pair, &action] {
    options->has_question = question->count() > 0;
    options->has_context = context->count() > 0;
    options->has_query = query->count() > 0;
    options->has_text_pair = pair->count() > 0;
    if (options->scale || options->no_scale) options->normalize = options->scale;
    check(*options);
    action = [options] { return options->inputs.empty() ? run_task(*options) : run_tensors(*options); };
  });
}

}  // namespace bertie::cli
