// The `bertie` program. Exit status: 0 good, 1 the work failed, 2 wrong usage, 130 interrupted.
#include <algorithm>
#include <exception>
#include <string>
#include <vector>

#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "bertie/base.h"
#include "interrupt.h"
#include "options.h"
#include "output.h"

namespace bertie::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
constexpr int kInterrupted = 130;

// `--text A B` where MODEL came first: each further word is a text of its own. CLI11 itself cannot take lists of words that
// look like its own list syntax.
std::vector<std::string> expanded_arguments(int argc, char** argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const bool model_first = arguments.size() > 1 && !arguments[1].empty() && arguments[1][0] != '-';
  if (!model_first) return arguments;
  std::vector<std::string> result;
  std::string repeated;  // the flag that further words belong to
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--text" || argument == "--input") {
      repeated = argument;
      if (i + 1 < arguments.size())
        result.push_back(argument + "=" + arguments[++i]);
      else
        result.push_back(argument);
    } else if (!repeated.empty() && (argument.empty() || argument[0] != '-')) {
      result.push_back(repeated + "=" + argument);
    } else {
      repeated.clear();
      result.push_back(argument);
    }
  }
  return result;
}

// CLI11 would only say that a subcommand is required.
void check_command(CLI::App& app, const std::string& name) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    throw UsageError(fmt::format("unknown command {}; there are {}", name, fmt::join(names, ", ")));
  }
}

int run_program(int argc, char** argv) {
  CLI::App app{"Builds and runs BERT-family encoders.", "bertie"};
  app.set_version_flag("--version", "bertie " + std::string(version()));
  app.require_subcommand(1);
  Action action;
  add_run(app, action);
  add_tokenize(app, action);
  add_build(app, action);
  add_inspect(app, action);
  add_export(app, action);
  add_bench(app, action);
  add_calibrate(app, action);
  add_compare(app, action);
  add_devices(app, action);
  try {
    std::vector<std::string> arguments = expanded_arguments(argc, argv);
    if (!arguments.empty() && !arguments[0].starts_with('-')) check_command(app, arguments[0]);
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::Success& help) {
    const int status = app.exit(help);
    flush_output();
    return status;
  } catch (const CLI::ParseError& error) {
    complain(error.what());
    return kWrongUsage;
  }
  catch_interrupts();
  const int status = action();
  flush_output();
  return interrupted() ? kInterrupted : status;
}

}  // namespace
}  // namespace bertie::cli

int main(int argc, char** argv) {
  using namespace bertie::cli;
  try {
    return run_program(argc, argv);
  } catch (const UsageError& error) {
    complain(error.what());
    return kWrongUsage;
  } catch (const bertie::Error& error) {
    std::fflush(stdout);
    if (interrupted()) return kInterrupted;
    complain(error.what());
  } catch (const std::bad_alloc&) {
    complain("out of memory");
  } catch (const std::exception& error) {
    complain(error.what());
  }
  return kFailed;
}
