// RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692) and the families with its tensors: XLM-RoBERTa, CamemBERT.
#include "models/family.h"

namespace bertie::models {
namespace {

constexpr Family roberta_like(std::string_view model_type, std::string_view class_prefix) {
  return {
      .model_type = model_type,
      .class_prefix = class_prefix,
      .prefix = "roberta.",
      .counts_non_pad = true,
      .pad_id = 1,
      .masked = kLmHead,
      .sequence = kDenseClassifier,
  };
}

}  // namespace

constinit const Family kRoberta = roberta_like("roberta", "Roberta");
constinit const Family kXlmRoberta = roberta_like("xlm-roberta", "XLMRoberta");
constinit const Family kCamembert = roberta_like("camembert", "Camembert");

}  // namespace bertie::models
