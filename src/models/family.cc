#include "models/family.h"

#include <array>

namespace bertie::models {

std::span<const Family* const> families() {
  static constexpr std::array<const Family*, 8> kFamilies = {&kBert,       &kRoberta, &kXlmRoberta, &kCamembert,
                                                             &kDistilBert, &kAlbert,  &kElectra,    &kMpnet};
  return kFamilies;
}

const Family* family_of_architecture(std::string_view architecture) {
  for (const Family* family : families()) {
    if (architecture.starts_with(family->class_prefix)) return family;
  }
  return nullptr;
}

}  // namespace bertie::models
