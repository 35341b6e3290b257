// `bertie bench`: how long Session::run takes, from packed ids to the outputs.
#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <numeric>
#include <optional>
#include <random>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "bench_cases.h"
#include "bench_profile.h"
#include "interrupt.h"
#include "json.h"
#include "options.h"
#include "output.h"

namespace bertie::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kFewestRuns = 5;
constexpr double kWarmUpSeconds = 0.2;
constexpr int kProfileRuns = 9;

struct BenchOptions {
  CommonOptions common;
  std::string random;
  std::vector<int64_t> batches = {1}, sequences = {128};
  std::string lengths;
  int64_t lines = 0;
  std::vector<std::string> outputs;
  double seconds = 2;
  std::string mix, trace;
  bool profile = false;
  bool has_batches = false;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// `sorted` must not be empty.
double percentile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - static_cast<double>(low));
}

// What the network is for: one head row a sequence of a masked-language model, the embedding, the logits, or the hidden state.
std::vector<std::string> default_outputs(const Model& model) {
  const auto has = [&](std::string_view name) {
    const auto outputs = model.network().outputs();
    return std::any_of(outputs.begin(), outputs.end(), [&](const auto& output) { return output.name == name; });
  };
  if (has("sentence_embedding")) return {"sentence_embedding"};
  if (has("logits")) return {"logits"};
  if (has("start_logits")) return {"start_logits", "end_logits"};
  return {"last_hidden_state"};
}

bool predicts_tokens(const Model& model) {
  const auto& tasks = model.info().tasks;
  return std::find(tasks.begin(), tasks.end(), "fill-mask") != tasks.end();
}

// What a case took.
struct Measured {
  std::vector<double> milliseconds;  // of each run of all its batches, ascending
  double runs_per_s = 0;             // of all sessions together
};

class Bench {
 public:
  explicit Bench(const BenchOptions& options)
      : options_(options), model_(options.random.empty() ? options.common.load_model() : Model::random(options.random)) {
    EngineOptions engine = options.common.engine_options(model_);
    engine.outputs = options.outputs.empty() ? default_outputs(model_) : options.outputs;
    const bool logits = std::find(engine.outputs.begin(), engine.outputs.end(), "logits") != engine.outputs.end();
    selects_rows_ = logits && predicts_tokens(model_);
    if (selects_rows_) engine.select_rows = {"logits"};
    engine_ = Engine::build(model_.network(), engine);
    device_ = device_info(engine.device, engine_->threads());
    if (engine.mode == Mode::throughput && device_.cores > 0) sessions_ = engine_->threads();
  }

  void run() {
    if (!options_.common.json) {
      write_line(fmt::format("{} on {} in {}, {} threads{}; output {}{}", model_.info().source, engine_->options().device,
                             engine_->options().precision, engine_->threads(),
                             sessions_ > 1 ? fmt::format(", {} sessions at once", sessions_) : "",
                             fmt::join(engine_->options().outputs, ", "), selects_rows_ ? " (one row a sequence)" : ""));
      write_line(fmt::format("{:>6} {:>8} {:>8} {:>10} {:>10} {:>10} {:>10} {:>12} {:>12} {:>6}", "batch", "sequence", "tokens",
                             "p50 ms", "p90 ms", "p99 ms", "gpu ms", "tokens/s", "sequences/s", "peak"));
    }
    if (!options_.lengths.empty()) {
      std::vector<int64_t> lengths = read_lengths(options_.lengths, model_, options_.lines);
      run_case(options_.has_batches ? sorted_batches(std::move(lengths), options_.batches.front())
                                    : std::vector<std::vector<int64_t>>{std::move(lengths)});
      return;
    }
    for (int64_t batch : options_.batches) {
      for (int64_t sequence : options_.sequences) {
        if (interrupted()) return;
        run_case({options_.mix.empty() ? std::vector<int64_t>(static_cast<size_t>(batch), sequence)
                                       : mixed_lengths(options_.mix, batch, sequence)});
      }
    }
  }

 private:
  // One case: batches run one after the other, timed together.
  void run_case(const std::vector<std::vector<int64_t>>& lengths) {
    std::vector<BenchBatch> batches;
    SessionLimits limits{0, 0, 0, 1};
    int64_t tokens = 0, sequences = 0;
    for (const auto& each : lengths) {
      const BenchBatch& batch = batches.emplace_back(model_.info(), each, selects_rows_);
      limits.tokens = std::max(limits.tokens, batch.tokens());
      limits.sequences = std::max(limits.sequences, static_cast<int64_t>(each.size()));
      limits.longest = std::max(limits.longest, batch.longest());
      limits.rows = std::max(limits.rows, batch.rows());
      tokens += batch.tokens();
      sequences += static_cast<int64_t>(each.size());
    }
    if (tokens == 0) fail(ErrorCode::invalid_argument, "nothing to run: no tokens");
    std::vector<Session> sessions;
    for (int i = 0; i < sessions_; ++i) sessions.emplace_back(engine_, limits);
    Session& session = sessions.front();
    const Measured measured = measure(sessions, batches);
    if (measured.milliseconds.empty()) return;
    double device_ms = 0;
    for (const BenchBatch& batch : batches) {
      std::vector<double> own = session.device_times(batch.batch(), device_runs(percentile(measured.milliseconds, 0.5)));
      std::sort(own.begin(), own.end());
      if (!own.empty()) device_ms += percentile(own, 0.5);
    }

    const bool shown = options_.profile || !options_.trace.empty();
    const std::vector<StepTime> profile = profile_of(session, batches, shown ? kProfileRuns : 1);
    report(static_cast<int64_t>(lengths.front().size()), limits.longest, tokens, sequences, measured, device_ms, profile);
    if (options_.profile && !options_.common.json) {
      for (const std::string& line : profile_table(engine_->steps(), profile, device_)) write_line(line);
    }
    if (!options_.trace.empty()) write_trace(options_.trace, engine_->steps(), profile, device_);
  }

  // Runs all batches again and again, on each session; of several each has a thread.
  Measured measure(std::vector<Session>& sessions, const std::vector<BenchBatch>& batches) const {
    const auto measure_one = [&](Session& session) {
      const auto run_all = [&] {
        for (const BenchBatch& batch : batches) session.run(batch.batch());
      };
      const auto warm_up = Clock::now();
      do run_all();
      while (seconds_since(warm_up) < std::min(kWarmUpSeconds, options_.seconds) && !interrupted());
      Measured own;
      const auto start = Clock::now();
      while ((own.milliseconds.size() < kFewestRuns || seconds_since(start) < options_.seconds) && !interrupted()) {
        const auto begin = Clock::now();
        run_all();
        own.milliseconds.push_back(seconds_since(begin) * 1e3);
      }
      own.runs_per_s = static_cast<double>(own.milliseconds.size()) / seconds_since(start);
      return own;
    };
    Measured all;
    if (sessions.size() == 1) {
      all = measure_one(sessions.front());
      std::sort(all.milliseconds.begin(), all.milliseconds.end());
      if (!all.milliseconds.empty()) all.runs_per_s = 1e3 / percentile(all.milliseconds, 0.5);
      return all;
    }
    std::vector<std::future<Measured>> running;
    for (Session& session : sessions) {
      running.push_back(std::async(std::launch::async, [&measure_one, &session] { return measure_one(session); }));
    }
    for (std::future<Measured>& one : running) {
      const Measured own = one.get();
      all.milliseconds.insert(all.milliseconds.end(), own.milliseconds.begin(), own.milliseconds.end());
      all.runs_per_s += own.runs_per_s;
    }
    std::sort(all.milliseconds.begin(), all.milliseconds.end());
    return all;
  }

  // Each step's median time, operations and bytes, of all batches together.
  std::vector<StepTime> profile_of(Session& session, const std::vector<BenchBatch>& batches, int runs) const {
    session.set_profiling(true);
    std::vector<StepTime> profile(engine_->steps().size());
    std::vector<std::vector<double>> times(profile.size());
    for (int run = 0; run < runs; ++run) {
      profile.assign(profile.size(), {});
      for (const BenchBatch& batch : batches) {
        session.run(batch.batch());
        for (size_t i = 0; i < profile.size(); ++i) {
          profile[i].milliseconds += session.step_times()[i].milliseconds;
          profile[i].flops += session.step_times()[i].flops;
          profile[i].bytes += session.step_times()[i].bytes;
        }
      }
      for (size_t i = 0; i < profile.size(); ++i) times[i].push_back(profile[i].milliseconds);
    }
    for (size_t i = 0; i < profile.size(); ++i) {
      std::sort(times[i].begin(), times[i].end());
      profile[i].milliseconds = percentile(times[i], 0.5);
    }
    return profile;
  }

  // As many repeats as fit into a quarter of the time.
  int device_runs(double milliseconds) const {
    constexpr double kFewest = 32, kMost = 512;
    return static_cast<int>(std::clamp(options_.seconds * 250 / milliseconds, kFewest, kMost));
  }

  void report(int64_t batch, int64_t longest, int64_t tokens, int64_t sequences, const Measured& measured, double device_ms,
              const std::vector<StepTime>& profile) const {
    const std::vector<double>& times = measured.milliseconds;
    const double p50 = percentile(times, 0.5), p90 = percentile(times, 0.9), p99 = percentile(times, 0.99);
    const double tokens_per_s = static_cast<double>(tokens) * measured.runs_per_s,
                 sequences_per_s = static_cast<double>(sequences) * measured.runs_per_s;
    const double flops =
        std::accumulate(profile.begin(), profile.end(), 0.0, [](double sum, const StepTime& step) { return sum + step.flops; });
    const double peak = peak_of(device_, engine_->options().precision);
    const double share = peak > 0 ? flops * (device_ms > 0 ? 1e3 / device_ms : measured.runs_per_s) / peak : 0;
    if (options_.common.json) {
      Json row = {{"model", model_.info().source},
                  {"device", engine_->options().device},
                  {"precision", engine_->options().precision},
                  {"threads", engine_->threads()},
                  {"mode", engine_->options().mode == Mode::throughput ? "throughput" : "latency"},
                  {"sessions", sessions_},
                  {"batch", batch},
                  {"sequence", longest},
                  {"tokens", tokens},
                  {"sequences", sequences},
                  {"runs", times.size()},
                  {"p50_ms", rounded(p50)},
                  {"p90_ms", rounded(p90)},
                  {"p99_ms", rounded(p99)},
                  {"tokens_per_s", rounded(tokens_per_s)},
                  {"sequences_per_s", rounded(sequences_per_s)},
                  {"peak_share", rounded(share)}};
      if (device_ms > 0) row["gpu_p50_ms"] = rounded(device_ms);
      if (options_.profile) row.update(profile_json(engine_->steps(), profile, device_));
      write_line(to_line(row));
    } else {
      write_line(fmt::format("{:>6} {:>8} {:>8} {:>10.3f} {:>10.3f} {:>10.3f} {:>10} {:>12.0f} {:>12.1f} {:>5.1f}%", batch,
                             longest, tokens, p50, p90, p99, device_ms > 0 ? fmt::format("{:.4f}", device_ms) : "-", tokens_per_s,
                             sequences_per_s, 100 * share));
    }
    flush_output();
  }

  const BenchOptions& options_;
  Model model_;
  std::shared_ptr<const Engine> engine_;
  bool selects_rows_ = false;
  int sessions_ = 1;  // at once
  DeviceInfo device_;
};

constexpr const char* kBenchFooter =
    R"(Times Session::run alone: no tokenizer, no reading of outputs. Of a masked-language model one head row a sequence is
computed. gpu_p50_ms, on a GPU, is of its steps alone: by its own events, without copies and without the host. peak_share is the
operations of matrix products, in that time, over the device's measured peak in this precision (in int8: over that of eight-bit products, though
attention's are fp32); a profiled step's is of that peak or of the memory's, whichever is nearer. --mode throughput has a session and
a caller for each thread: the times are of one run among the others, tokens/s and sequences/s of all together. --lengths runs all its lines
as one batch, or, with --batch N, sorted and N at a time; the time is of all of them together.)";

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App& command = *app.add_subcommand("bench", "Latency, throughput and share of the machine's peak");
  command.footer(kBenchFooter);
  BenchOptions& o = *options;
  o.common.add_model(command, false);
  command.add_option("--random", o.random,
                     "base, large, minilm or L,H,A,F (layers, hidden, heads, feed-forward): no files needed");
  auto* batch = command.add_option("--batch", o.batches, "Sequences a batch, a comma-separated list (default 1)")
                    ->delimiter(',')
                    ->check(CLI::Range(1, 1 << 20));
  command.add_option("--sequence", o.sequences, "Tokens a sequence, a comma-separated list (default 128)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20));
  command.add_option("--lengths", o.lengths, "A file of one length, or one text, a line");
  command
      .add_option("--mix", o.mix,
                  "Lengths that vary: uniform (1 to --sequence) or squad (178 in the mean where --sequence is 384)")
      ->check(CLI::IsMember({"uniform", "squad"}));
  command.add_option("--lines", o.lines, "Use only this many lines of --lengths")->check(CLI::Range(1, 1 << 30));
  command.add_option("--outputs", o.outputs, "Network outputs to compute, a comma-separated list")->delimiter(',');
  command.add_option("--seconds", o.seconds, "Seconds of measuring a case (default 2), at least 5 runs")
      ->check(CLI::Range(0.0, 1e6));
  command.add_flag("--profile", o.profile,
                   "Time each step, the median of 9 runs; on a GPU also name it to an attached profiler (NVTX)");
  command.add_option("--trace", o.trace,
                     "Write the steps' times to this file for chrome://tracing or Perfetto, of the last case");
  o.common.add_tokenizer(command);
  o.common.add_device(command);
  o.common.add_mode(command);
  o.common.add_output(command);
  command.callback([options, batch, &action] {
    if (options->common.model.empty() == options->random.empty()) throw UsageError("bench needs MODEL or --random");
    options->has_batches = batch->count() > 0;
    if (!options->lengths.empty() && !options->mix.empty()) throw UsageError("--lengths and --mix exclude each other");
    if (!options->lengths.empty() && options->batches.size() > 1) throw UsageError("--lengths takes one --batch");
    action = [options] {
      options->common.start_log();
      Bench(*options).run();
      return 0;
    };
  });
}

}  // namespace bertie::cli
