#include "backend/kernel_timings.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json.h"

namespace bertie {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "bertie kernel timings 1";
constexpr size_t kMaxTokens = 16;

double positive_real(const Json& json, const JsonFields& fields, std::string_view name) {
  if (!json.is_number() || !(json.get<double>() > 0) || !(json.get<double>() < 1e12)) fields.refuse(name, "times over 0");
  return json.get<double>();
}

KernelTimes times_of(const JsonFields& fields) {
  KernelTimes times;
  const Json* tokens = fields.find("tokens");
  if (!tokens || !tokens->is_array() || tokens->empty() || tokens->size() > kMaxTokens)
    fields.refuse("tokens", "a list of counts");
  for (const Json& count : *tokens) {
    if (!count.is_number_integer() || count.get<int64_t>() <= 0) fields.refuse("tokens", "a list of counts");
    times.tokens.push_back(count.get<int64_t>());
  }
  const Json* kernels = fields.find("ms");
  if (!kernels || !kernels->is_object() || kernels->empty()) fields.refuse("ms", "times by kernel");
  for (const auto& [name, list] : kernels->items()) {
    if (!list.is_array() || list.size() != times.tokens.size()) fields.refuse("ms." + name, "one time a token count");
    for (const Json& time : list) times.milliseconds[name].push_back(positive_real(time, fields, "ms." + name));
  }
  return times;
}

}  // namespace

std::optional<KernelTimes> KernelTimings::Impl::find(const TimedProblem& wanted) const {
  const std::lock_guard lock(mutex);
  const auto found = entries.find(wanted);
  return found == entries.end() ? std::nullopt : std::optional(found->second);
}

void KernelTimings::Impl::add(const TimedProblem& timed, KernelTimes times) {
  const std::lock_guard lock(mutex);
  for (auto& [name, milliseconds] : times.milliseconds) {
    for (double& time : milliseconds) time = std::max(std::round(time * 1e6), 1.0) / 1e6;  // nanoseconds: no more is meant
  }
  entries[timed] = std::move(times);
  changed = true;
}

std::vector<std::string> KernelTimings::Impl::machines() const {
  const std::lock_guard lock(mutex);
  std::vector<std::string> found;
  for (const auto& [timed, times] : entries) {
    if (timed.bertie == version() && (found.empty() || found.back() != timed.machine)) found.push_back(timed.machine);
  }
  return found;
}

Json KernelTimings::Impl::json() const {
  Json list = Json::array();
  for (const auto& [timed, times] : entries) {
    list.push_back({{"bertie", timed.bertie},
                    {"machine", timed.machine},
                    {"op", timed.op},
                    {"operands", timed.operands},
                    {"tokens", times.tokens},
                    {"ms", times.milliseconds}});
  }
  return {{"format", kFormat}, {"timings", std::move(list)}};
}

void KernelTimings::Impl::read(const Json& json, const std::string& file) {
  const JsonFields fields(json, file);
  if (fields.text("format") != kFormat) fields.refuse("format", fmt::format("\"{}\"", kFormat));
  const Json* list = fields.find("timings");
  if (!list || !list->is_array()) fields.refuse("timings", "a list");
  std::map<TimedProblem, KernelTimes> found;
  for (const Json& entry : *list) {
    const JsonFields own(entry, file, "timings.");
    found[{own.text("bertie"), own.text("machine"), own.text("op"), own.text("operands")}] = times_of(own);
  }
  entries = std::move(found);
}

void KernelTimings::Impl::flush() {
  const std::lock_guard lock(mutex);
  if (path.empty() || !changed) return;
  // A line an entry.
  const Json all = json();
  std::string text = "{\"format\": " + all["format"].dump() + ",\n \"timings\": [";
  for (const Json& entry : all["timings"]) text += (text.back() == '[' ? "\n  " : ",\n  ") + entry.dump();
  write_file_atomically(path, text + "]}\n");
  changed = false;
}

KernelTimings::KernelTimings(const std::string& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  std::error_code ignored;
  if (path.empty() || !std::filesystem::exists(path, ignored)) return;
  const std::string text = read_text_file(path);
  try {
    impl_->read(parse_json(text, path), path);
  } catch (const Error& error) {
    impl_->problem = error.what();
    impl_->changed = true;
  }
}

KernelTimings::~KernelTimings() = default;
const std::string& KernelTimings::problem() const { return impl_->problem; }

size_t KernelTimings::size() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->entries.size();
}

}  // namespace bertie
