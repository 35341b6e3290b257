#include "calibration/model_task.h"

#include <algorithm>

namespace bertie::calibration {

std::string task_of(const Model& model) {
  const std::vector<std::string>& tasks = model.info().tasks;
  for (const char* task : {"fill-mask", "answer", "tag", "classify"}) {
    if (std::find(tasks.begin(), tasks.end(), task) != tasks.end()) return task;
  }
  return "embed";
}

std::vector<std::string> task_outputs(const Model& model) {
  const std::string task = task_of(model);
  const ModelInfo& info = model.info();
  if (task == "answer") return {info.output("start_logits"), info.output("end_logits")};
  if (task != "embed") return {info.output("logits")};
  const std::string embedding = info.output("sentence_embedding");
  const auto outputs = model.network().outputs();
  const bool has = std::any_of(outputs.begin(), outputs.end(), [&](const auto& output) { return output.name == embedding; });
  return has ? std::vector<std::string>{embedding} : std::vector<std::string>{};
}

}  // namespace bertie::calibration
